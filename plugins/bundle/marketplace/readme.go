package marketplace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// markdown renders a stranger's text: goldmark leaves raw HTML out unless told
// otherwise, harmless takes out the rest.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table, extension.Strikethrough),
	goldmark.WithParserOptions(parser.WithASTTransformers(util.Prioritized(harmless{}, 1000))),
)

// readme renders a README. Its HTML is made by goldmark alone.
func readme(source []byte) (template.HTML, error) {
	var out bytes.Buffer
	if err := markdown.Convert(source, &out); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil
}

// harmless turns pictures into their words, and links that do not lead to a
// web page or a mail address into theirs: nothing is fetched, nothing but a
// visible link leads anywhere.
type harmless struct{}

// Transform implements parser.ASTTransformer.
func (harmless) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	var hollow []ast.Node
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Image:
			hollow = append(hollow, n)
		case *ast.Link:
			if !leadsOut(n.Destination) {
				hollow = append(hollow, n)
				break
			}
			n.SetAttributeString("rel", []byte("nofollow noopener noreferrer"))
		case *ast.AutoLink:
			n.SetAttributeString("rel", []byte("nofollow noopener noreferrer"))
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		panic(err) // the walker above returns none
	}
	for _, n := range hollow {
		parent := n.Parent()
		for child := n.FirstChild(); child != nil; child = n.FirstChild() {
			n.RemoveChild(n, child)
			parent.InsertBefore(parent, n, child)
		}
		parent.RemoveChild(parent, n)
	}
}

func leadsOut(destination []byte) bool {
	u, err := url.Parse(string(destination))
	return err == nil && slices.Contains([]string{"http", "https", "mailto"}, u.Scheme)
}

// score reads the figure of a conformance file: points of a maximum.
func score(text json.RawMessage) string {
	var c struct {
		Score *float64 `json:"score"`
		Of    *float64 `json:"of"`
	}
	if json.Unmarshal(text, &c) != nil || c.Score == nil || c.Of == nil {
		return ""
	}
	return fmt.Sprintf("%g of %g", *c.Score, *c.Of)
}

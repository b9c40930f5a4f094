// Command grants is a transform that uses what it is granted: it replaces each
// e-mail by what became of what it says.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leat-etl/leat/pdk/go"
)

func init() { pdk.RegisterTransform(plan) }

func main() {}

func plan(in *pdk.PlanInput) (*pdk.Plan, error) {
	p := pdk.KeepAll(in.Schema)
	p.Rewrite(1, func(dst, value []byte) ([]byte, error) {
		said, err := do(string(value))
		if err != nil {
			said = "error: " + err.Error()
		}
		return append(dst, said...), nil
	})
	return p, nil
}

func do(text string) (string, error) {
	verb, rest, _ := strings.Cut(text, " ")
	key, data, _ := strings.Cut(rest, " ")
	switch verb {
	case "get":
		r, err := pdk.HTTP(pdk.HTTPRequest{Method: "GET", URL: rest})
		if err != nil {
			return "", err
		}
		return fmt.Sprint(r.Status, " ", r.Body, len(r.Bytes)), nil
	case "put":
		return "put", pdk.KVPut(key, []byte(data))
	case "value":
		v, err := pdk.KVGet(key)
		return fmt.Sprintf("%q", v), err
	case "keys":
		k, err := pdk.KVList(key)
		return fmt.Sprint(k), err
	case "write":
		return "written", pdk.BlobPut(key, []byte(data))
	case "read":
		v, err := pdk.BlobGet(key)
		return fmt.Sprintf("%q", v), err
	case "files":
		k, err := pdk.BlobList(key)
		return fmt.Sprint(k), err
	case "now":
		return pdk.Now().Format("2006"), nil
	case "random":
		var b [16]byte
		pdk.Random(b[:])
		return fmt.Sprintf("%x", b), nil
	case "remove":
		return "removed", errors.Join(pdk.KVDelete(key), pdk.BlobDelete(key))
	case "log":
		for range 90 {
			pdk.Logf(pdk.LevelInfo, "flood")
		}
	}
	return text, nil
}

package bundle

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// Ref names a plugin of a publisher, publisher/name, with @version where one
// is meant.
type Ref struct{ Publisher, Name, Version string }

var (
	pluginName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	pluginVersion = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?$`)
)

const (
	nameGrammar    = "want 1 to 64 lower-case letters, digits and hyphens, no hyphen at either end"
	versionGrammar = "want a semantic version without build metadata, for example 1.2.0 or 1.2.0-rc.1"
)

// CheckName refuses what cannot be the name of a publisher or a plugin.
func CheckName(name string) error {
	if !pluginName.MatchString(name) {
		return fmt.Errorf("name %q: %s", name, nameGrammar)
	}
	return nil
}

// CheckVersion refuses what is not a version of a plugin: a semantic version.
// Build metadata is left out of the grammar because a registry's tag cannot
// hold its plus sign.
func CheckVersion(version string) error {
	if len(version) > 64 || !pluginVersion.MatchString(version) {
		return fmt.Errorf("version %q: %s", version, versionGrammar)
	}
	return nil
}

// IsRef says whether a plugin is meant by publisher and name, rather than by
// path or as a bundled one.
func IsRef(s string) bool { return strings.Contains(s, "/") && !IsPath(s) }

// ParseRef reads publisher/name or publisher/name@version.
func ParseRef(s string) (Ref, error) {
	id, version, versioned := strings.Cut(s, "@")
	publisher, name, found := strings.Cut(id, "/")
	if !found {
		return Ref{}, fmt.Errorf("plugin %q: want publisher/name@version, for example acme/mask@1.2.0", s)
	}
	for _, part := range []string{publisher, name} {
		if err := CheckName(part); err != nil {
			return Ref{}, fmt.Errorf("plugin %q: %w", s, err)
		}
	}
	if versioned {
		if err := CheckVersion(version); err != nil {
			return Ref{}, fmt.Errorf("plugin %q: %w", s, err)
		}
	}
	return Ref{publisher, name, version}, nil
}

// ID returns publisher/name, the name alone of a plugin without publisher.
func (r Ref) ID() string {
	if r.Publisher == "" {
		return r.Name
	}
	return r.Publisher + "/" + r.Name
}

// String returns publisher/name@version, or the ID where no version is meant.
func (r Ref) String() string {
	if r.Version == "" {
		return r.ID()
	}
	return r.ID() + "@" + r.Version
}

// Prerelease says whether a version precedes the release of its numbers.
func Prerelease(version string) bool { return strings.Contains(version, "-") }

// CompareVersions orders two valid versions by the rules of semver.org.
func CompareVersions(a, b string) int {
	aCore, aPre, _ := strings.Cut(a, "-")
	bCore, bPre, _ := strings.Cut(b, "-")
	if c := comparePrecedence(aCore, bCore); c != 0 {
		return c
	}
	switch {
	case aPre == bPre:
		return 0
	case aPre == "":
		return 1
	case bPre == "":
		return -1
	}
	return comparePrecedence(aPre, bPre)
}

// comparePrecedence compares identifiers between dots: numbers by value and
// below words, and where one list is the beginning of the other it is less.
func comparePrecedence(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, y := as[i], bs[i]
		var c int
		switch xNumber, yNumber := isNumber(x), isNumber(y); {
		case xNumber && yNumber:
			c = cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
		case xNumber:
			c = -1
		case yNumber:
			c = 1
		default:
			c = cmp.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

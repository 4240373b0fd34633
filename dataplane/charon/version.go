package charon

import (
	"fmt"
	"strconv"
	"strings"
)

// version is charon's version as its version command reports it.
type version struct {
	text                string
	major, minor, patch int
}

// parseVersion reads "5.9.8", "6.0.2" and pre-releases such as "6.0.2dr1" and "6.0beta4". Pre-releases count as the release before:
// what a release introduced may be missing from them.
func parseVersion(text string) (version, error) {
	v := version{text: text}
	parts := strings.SplitN(text, ".", 3)
	numbers := [3]int{}
	pre := false
	for i, p := range parts {
		digits := strings.TrimRight(p, "abcdefghijklmnopqrstuvwxyz0123456789")
		if digits != "" {
			return version{}, fmt.Errorf("charon version %q: unexpected %q", text, digits)
		}
		end := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			pre = true
			p = p[:end]
		}
		n, err := strconv.Atoi(p)
		if err != nil {
			return version{}, fmt.Errorf("charon version %q: part %d is no number", text, i+1)
		}
		numbers[i] = n
	}
	if len(parts) < 2 {
		return version{}, fmt.Errorf("charon version %q: no minor number", text)
	}
	v.major, v.minor, v.patch = numbers[0], numbers[1], numbers[2]
	if pre {
		v.patch--
	}
	return v, nil
}

// atLeast compares; a patch number of -1 stands for everything before the .0 release.
func (v version) atLeast(major, minor, patch int) bool {
	if v.major != major {
		return v.major > major
	}
	if v.minor != minor {
		return v.minor > minor
	}
	return v.patch >= patch
}

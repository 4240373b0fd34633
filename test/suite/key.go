package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keys gives every job the hash of all that its result depends on and that is known before it runs: the system, the programs that make
// the lab, the test binary and its arguments, the programs under test, and the environment that reaches the tests. Files that a test
// reads are known when it has run: see store.
func (b *builder) keys(jobs []job, w where) error {
	hashes := map[string]string{}
	hash := func(path string) (string, error) {
		var err error
		if hashes[path] == "" {
			hashes[path], err = hashFile(path)
		}
		return hashes[path], err
	}
	for i := range jobs {
		j := &jobs[i]
		files := []string{b.labrun(), b.program("suite"), j.Argv[0]}
		if j.programs() {
			files = append(files, b.program("bordergw-agent"), b.program("bordergwctl"), b.program("bordergw-controller"))
		}
		parts := []string{"lab 1", j.Package, strings.Join(j.Argv[1:], " "), string(w)}
		for _, f := range files {
			h, err := hash(f)
			if err != nil {
				return err
			}
			parts = append(parts, h)
		}
		j.Key = keyOf(append(parts, testEnv(os.Environ())...))
	}
	return nil
}

// keyOf hashes parts so that no two lists give the same text.
func keyOf(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d %s\n", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// testEnv returns the variables that a user may set for tests. Those that name places do not count.
func testEnv(environ []string) []string {
	var env []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "BORDERGW_LAB", "BORDERGW_LAB_CACHE", "BORDERGW_LAB_SUITE", "BORDERGW_LAB_SECRETS", "BORDERGW_RESULTS", "BORDERGW_AGENT",
			"BORDERGW_CTL", "BORDERGW_CONTROLLER":
		default:
			if strings.HasPrefix(name, "BORDERGW_") {
				env = append(env, variable)
			}
		}
	}
	slices.Sort(env)
	return env
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// hashInput is the hash of what a test can see of a file or folder that it opened: the content, the names in it, or that there is none.
func hashInput(checkout, path string) (string, error) {
	path = filepath.Join(checkout, path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none", nil
	case err != nil:
		return "", err
	case info.Mode().IsRegular():
		return hashFile(path)
	case !info.IsDir():
		return info.Mode().String(), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return keyOf(names), nil
}

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// leakedSecrets searches everything in the results for the secrets that the tests handed out, in clear, hexadecimal and base64, and
// returns "file:line: the line without it" of each. The files of the folder lists have one JSON string a line (lab.Lab records them); own
// is the suite's own folder, which holds the lists. What the tests give to daemons as input is not in the results, so there are no
// other exceptions.
func leakedSecrets(lists, results, own string) ([]string, error) {
	forms, err := readForms(lists)
	if err != nil {
		return nil, err
	}
	var leaks []string
	err = filepath.WalkDir(results, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == own {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		found, err := search(path, forms)
		leaks = append(leaks, found...)
		return err
	})
	return leaks, err
}

// readForms returns every form of every secret.
func readForms(lists string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(lists, "*"))
	if err != nil {
		return nil, err
	}
	forms := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(content)) {
			line = strings.TrimSpace(line)
			var secret string
			if err := json.Unmarshal([]byte(line), &secret); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			hexadecimal := hex.EncodeToString([]byte(secret))
			for _, form := range []string{
				secret, line[1 : len(line)-1], // as it is, and as JSON has it
				hexadecimal, strings.ToUpper(hexadecimal), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
			} {
				forms[form] = true
			}
		}
	}
	return forms, nil
}

// search returns "path:line" of every line that has one of the forms.
func search(path string, forms map[string]bool) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	some := false
	for form := range forms {
		some = some || bytes.Contains(content, []byte(form))
	}
	if !some {
		return nil, nil
	}
	var found []string
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, len(content)+1)
	for n := 1; lines.Scan(); n++ {
		for form := range forms {
			if bytes.Contains(lines.Bytes(), []byte(form)) {
				found = append(found, fmt.Sprintf("%s:%d: %.120s", path, n, redacted(lines.Text(), forms)))
				break
			}
		}
	}
	if len(found) == 0 { // the form itself has a line feed
		found = []string{path}
	}
	return found, lines.Err()
}

func redacted(line string, forms map[string]bool) string {
	for form := range forms {
		line = strings.ReplaceAll(line, form, "[redacted]")
	}
	return line
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// keepFor is how long a pass is remembered.
const keepFor = 30 * 24 * time.Hour

// store remembers jobs that passed, a file for each in one folder.
type store struct{ dir, checkout string }

// pass is a job that passed.
type pass struct {
	Name     string
	PassedAt time.Time
	Seconds  float64
	Tally    tally
	Inputs   map[string]string // hash of each file of the checkout that the tests read
}

// openStore uses the lab's cache, which several checkouts may share: keys name no places.
func openStore(checkout string) (*store, error) {
	cache := os.Getenv("BORDERGW_LAB_CACHE")
	if cache == "" {
		cache = filepath.Join(checkout, ".cache", "lab")
	}
	s := &store{dir: filepath.Join(cache, "passed"), checkout: checkout}
	return s, os.MkdirAll(s.dir, 0o755)
}

func (s *store) file(key string) string { return filepath.Join(s.dir, key+".json") }

// lookup returns the pass of a key, if there is one and the files that the tests read are still the same. A file that cannot be read is
// a pass that is not known.
func (s *store) lookup(key string) (pass, bool) {
	var p pass
	if err := readJSON(s.file(key), &p); err != nil || !p.Tally.good() {
		return pass{}, false
	}
	for path, want := range p.Inputs {
		if have, err := hashInput(s.checkout, path); err != nil || have != want {
			return pass{}, false
		}
	}
	return p, true
}

// add remembers those of jobs that passed, and forgets what is old. What did not pass is not remembered, nor what passed at the second try.
func (s *store) add(jobs []job, done []result) error {
	keys := map[string]string{}
	for _, j := range jobs {
		keys[j.Name] = j.Key
	}
	for _, d := range done {
		if !d.passed() {
			delete(keys, d.Name)
		}
	}
	now := time.Now().UTC().Truncate(time.Second)
	for _, d := range done {
		if keys[d.Name] == "" {
			continue
		}
		p := pass{Name: d.Name, PassedAt: now, Seconds: d.Seconds, Tally: d.Tally, Inputs: map[string]string{}}
		for _, path := range d.Inputs {
			hash, err := hashInput(s.checkout, path)
			if err != nil {
				return err
			}
			p.Inputs[path] = hash
		}
		if err := writeJSON(s.file(keys[d.Name]), p); err != nil {
			return err
		}
	}
	return s.forget(now.Add(-keepFor))
}

func (s *store) forget(before time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

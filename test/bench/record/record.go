// Package record keeps what the benchmarks measured: raw values with the machine and the versions that they were measured on, one JSON file a
// row. A row that is measured again replaces what the file has of the same comparison and size, and leaves the rest.
package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Row is all that was measured for one row of the page.
type Row struct {
	Name   string
	Series []Series
}

// Series is one quantity at one size, of bordergw and of a peer, measured in turn: A[i] and B[i] belong together.
type Series struct {
	// Quantity says what is measured, Unit in what.
	Quantity, Unit string
	// Peer is what bordergw is compared with, empty for nothing.
	Peer string `json:",omitempty"`
	// Size is how many Things there were, "tunnels" for example.
	Size   int
	Things string
	A      []float64
	B      []float64 `json:",omitempty"`
	Goal   Goal
	On     Machine
}

// Goal bounds the median; the zero Goal bounds nothing.
type Goal struct {
	// Ratio: the bound is for A/B and not for A.
	Ratio bool     `json:",omitempty"`
	Most  *float64 `json:",omitempty"`
	Least *float64 `json:",omitempty"`
}

// AtMost and AtLeast are goals for A, Ratio makes them goals for A/B.
func AtMost(v float64) Goal  { return Goal{Most: &v} }
func AtLeast(v float64) Goal { return Goal{Least: &v} }
func (g Goal) OfRatio() Goal { g.Ratio = true; return g }
func (g Goal) IsSet() bool   { return g.Most != nil || g.Least != nil }
func (g Goal) Met(v float64) bool {
	return (g.Most == nil || v <= *g.Most) && (g.Least == nil || v >= *g.Least)
}

// Machine is where and when something was measured.
type Machine struct {
	Date       time.Time
	Processor  string
	Processors int
	// Emulated: a virtual machine without hardware support, in which everything takes several times as long.
	Emulated bool `json:",omitempty"`
	Kernel   string
	Versions map[string]string `json:",omitempty"`
}

// Valid says what is wrong with a series.
func (s Series) Valid() error {
	switch {
	case s.Quantity == "" || s.Unit == "" || s.Things == "" || s.Size <= 0:
		return fmt.Errorf("series %q of %d %q in %q: a name is missing", s.Quantity, s.Size, s.Things, s.Unit)
	case len(s.A) == 0:
		return fmt.Errorf("series %q of %d %s: nothing measured", s.Quantity, s.Size, s.Things)
	case s.Peer != "" && len(s.A) != len(s.B):
		return fmt.Errorf("series %q of %d %s: %d values of bordergw, %d of %s", s.Quantity, s.Size, s.Things, len(s.A), len(s.B), s.Peer)
	case s.Goal.Ratio && s.Peer == "":
		return fmt.Errorf("series %q of %d %s: a goal for a ratio, and no peer", s.Quantity, s.Size, s.Things)
	}
	return nil
}

func (s Series) same(o Series) bool {
	return s.Quantity == o.Quantity && s.Peer == o.Peer && s.Size == o.Size
}

// Load reads a row from a folder. A row that was never measured is empty.
func Load(dir, name string) (Row, error) {
	r := Row{Name: name}
	data, err := os.ReadFile(file(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, fmt.Errorf("row %s: %w", name, err)
	}
	for _, s := range r.Series {
		if err := s.Valid(); err != nil {
			return r, fmt.Errorf("row %s: %w", name, err)
		}
	}
	return r, nil
}

// Put adds series to a row in a folder; those of the same quantity, peer and size are replaced.
func Put(dir, name string, series ...Series) error {
	r, err := Load(dir, name)
	if err != nil {
		return err
	}
	for _, s := range series {
		if err := s.Valid(); err != nil {
			return fmt.Errorf("row %s: %w", name, err)
		}
		r.Series = append(slices.DeleteFunc(r.Series, s.same), s)
	}
	slices.SortStableFunc(r.Series, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.Quantity, b.Quantity), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Size, b.Size))
	})
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(file(dir, name), append(data, '\n'), 0o644)
}

func file(dir, name string) string { return filepath.Join(dir, name+".json") }

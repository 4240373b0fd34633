package record

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   Summary
	}{
		{[]float64{3}, Summary{3, 3, 3}},
		{[]float64{4, 1}, Summary{1, 2.5, 4}},
		{[]float64{5, 1, 2}, Summary{1, 2, 5}},
		{[]float64{9, 1, 2, 4}, Summary{1, 3, 9}},
	} {
		before := append([]float64(nil), tc.values...)
		if got := Summarize(tc.values); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.values, got, tc.want)
		}
		if diff := cmp.Diff(before, tc.values); diff != "" {
			t.Errorf("the values were changed: %s", diff)
		}
	}
}

func TestRatiosAreOfTheSameTurn(t *testing.T) {
	s := Series{A: []float64{1, 10, 0, 5}, B: []float64{2, 5, 0, 0}}
	if diff := cmp.Diff([]float64{0.5, 2, 1}, s.Ratios()); diff != "" {
		t.Error(diff)
	}
}

func TestGoals(t *testing.T) {
	s := series(10, 1, 2, 3)
	s.Peer, s.B = "peer", []float64{2, 2, 2}
	for _, tc := range []struct {
		goal Goal
		met  bool
	}{
		{AtMost(2), true}, {AtMost(1.9), false}, {AtLeast(2), true}, {AtLeast(2.1), false},
		{AtMost(1).OfRatio(), true}, {AtMost(0.9).OfRatio(), false}, {AtLeast(1).OfRatio(), true},
	} {
		s.Goal = tc.goal
		v, ok := s.Judged()
		if !ok || s.Goal.Met(v) != tc.met {
			t.Errorf("%+v: value %v, met %v", tc.goal, v, s.Goal.Met(v))
		}
	}
	s.Goal = Goal{}
	if _, ok := s.Judged(); ok {
		t.Error("no goal is judged")
	}
}

func series(size int, values ...float64) Series {
	return Series{Quantity: "time", Unit: "s", Things: "tunnels", Size: size, A: values, On: Machine{Date: time.Unix(int64(size), 0).UTC()}}
}

func TestMeasuringAgainReplaces(t *testing.T) {
	dir := t.TempDir()
	for _, s := range [][]Series{{series(100, 1), series(10, 2)}, {series(10, 3)}} {
		if err := Put(dir, "row", s...); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(dir, "row")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Row{Name: "row", Series: []Series{series(10, 3), series(100, 1)}}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Load(dir, "other"); err != nil || len(got.Series) != 0 {
		t.Errorf("a row that was never measured: %v, %v", got, err)
	}
}

func TestWhatIsIncompleteIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Series){
		"name is missing":      func(s *Series) { s.Unit = "" },
		"nothing measured":     func(s *Series) { s.A = nil },
		"2 values":             func(s *Series) { s.Peer, s.A, s.B = "FRR", []float64{1, 2}, []float64{1} },
		"and no peer":          func(s *Series) { s.Goal = AtMost(1).OfRatio() },
		"series \"time\" of 0": func(s *Series) { s.Size = 0 },
	} {
		s := series(10, 1)
		change(&s)
		if err := Put(t.TempDir(), "row", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

package delta_test

import (
	"cmp"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/internal/delta"
)

func TestDiff(t *testing.T) {
	type m = map[string]int
	tests := []struct {
		name       string
		have, want m
		changes    delta.Changes[string]
		empty      bool
	}{
		{name: "nothing", empty: true},
		{name: "same", have: m{"a": 1}, want: m{"a": 1}, empty: true},
		{
			name:    "all three, sorted",
			have:    m{"a": 1, "b": 2, "z": 9, "y": 8},
			want:    m{"a": 1, "b": 3, "d": 4, "c": 5},
			changes: delta.Changes[string]{Add: []string{"c", "d"}, Change: []string{"b"}, Remove: []string{"y", "z"}},
		},
		{name: "from nothing", want: m{"a": 1}, changes: delta.Changes[string]{Add: []string{"a"}}},
		{name: "to nothing", have: m{"a": 1}, changes: delta.Changes[string]{Remove: []string{"a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := delta.Diff(tt.have, tt.want, func(h, w int) bool { return h == w }, cmp.Compare[string])
			if d := gocmp.Diff(tt.changes, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
			if got.Empty() != tt.empty {
				t.Errorf("Empty() = %v, want %v", got.Empty(), tt.empty)
			}
		})
	}
}

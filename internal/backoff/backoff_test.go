package backoff

import (
	"testing"
	"time"
)

func TestNextDoublesUpToMax(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 30 * time.Second}
	for range 3 {
		for i, full := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
			full *= time.Second
			if d := b.Next(); d < full/2 || d > full {
				t.Errorf("delay %d is %v, want between %v and %v", i, d, full/2, full)
			}
		}
		if b.Failures() != 8 {
			t.Errorf("Failures() = %d, want 8", b.Failures())
		}
		b.Reset()
	}
}

func TestNextVaries(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 50 {
		b := Backoff{Min: time.Second, Max: time.Second}
		seen[b.Next()] = true
	}
	if len(seen) < 40 {
		t.Errorf("%d different delays in 50, want nearly all different", len(seen))
	}
}

func TestNextBounds(t *testing.T) {
	tests := []struct {
		name     string
		b        Backoff
		min, max time.Duration
	}{
		{"zero", Backoff{}, 0, 0},
		{"max below min", Backoff{Min: 4, Max: 1}, 2, 4},
		{"no overflow", Backoff{Min: 1 << 61, Max: 1<<63 - 1}, 1 << 60, 1<<63 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 100 {
				if d := tt.b.Next(); d < tt.min || d > tt.max {
					t.Fatalf("delay %v, want between %v and %v", d, tt.min, tt.max)
				}
			}
		})
	}
}

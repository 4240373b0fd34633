package plan

import (
	"fmt"
	"testing"
)

func TestPoolKeepsANumberPerKey(t *testing.T) {
	p := NewPool(Range{100, 109})
	seen := map[uint32]string{}
	for i := range 10 {
		key := fmt.Sprintf("t%d", i)
		n, err := p.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		if n < 100 || n > 109 {
			t.Errorf("%s got %d, outside the range", key, n)
		}
		if other, dup := seen[n]; dup {
			t.Errorf("%s and %s share %d", key, other, n)
		}
		seen[n] = key
		if again, err := p.Get(key); err != nil || again != n {
			t.Errorf("second Get(%s) = %d, %v; first was %d", key, again, err, n)
		}
	}
	if _, err := p.Get("one-too-many"); err == nil {
		t.Error("a full pool handed out a number")
	}
}

func TestPoolWithoutMemoryFindsTheSameNumbers(t *testing.T) {
	a, b := NewPool(Range{1, 1 << 20}), NewPool(Range{1, 1 << 20})
	for i := range 50 {
		key := fmt.Sprintf("shop-%d", i)
		x, errX := a.Get(key)
		y, errY := b.Get(key)
		if errX != nil || errY != nil || x != y {
			t.Errorf("%s: %d (%v) and %d (%v)", key, x, errX, y, errY)
		}
	}
}

func TestPoolAdopt(t *testing.T) {
	p := NewPool(Range{10, 20})
	steps := []struct {
		key  string
		n    uint32
		want bool
	}{
		{"a", 12, true},
		{"a", 12, true},  // idempotent
		{"a", 13, false}, // a has 12
		{"b", 12, false}, // taken
		{"b", 9, false},  // outside
		{"b", 20, true},
	}
	for _, s := range steps {
		if got := p.Adopt(s.key, s.n); got != s.want {
			t.Errorf("Adopt(%s, %d) = %v, want %v", s.key, s.n, got, s.want)
		}
	}
	if n, err := p.Get("a"); err != nil || n != 12 {
		t.Errorf("Get after Adopt = %d, %v", n, err)
	}
}

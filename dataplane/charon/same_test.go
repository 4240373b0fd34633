package charon

import (
	"slices"
	"testing"
	"time"
)

// Rounds in which nothing changed give the very same slice: what was wrong with it is told each time, and what charon has lost it gets again.
func TestTheSameSliceAgain(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		bad := wanted("b")
		bad.IfID = 0
		for _, set := range [][]Tunnel{{wanted("a"), bad}, {wanted("a")}} {
			for range 2 {
				r := b.apply("gw", set...)
				if !slices.Equal(r.Loaded, []string{"a"}) || len(r.Errors) != len(set)-1 {
					t.Errorf("%+v", r)
				}
			}
		}
		b.sent()
		b.s.Kill()
		b.s.Start()
		b.pass(10 * time.Second)
		set := []Tunnel{wanted("a")}
		b.apply("gw", set...)
		b.apply("other", wanted("c"))
		b.apply("gw")
		if r := b.apply("gw", set...); !slices.Equal(r.Loaded, []string{"a"}) || !slices.Contains(b.s.Conns(), "bgw-a") {
			t.Errorf("after an empty set: %+v, %v", r, b.s.Conns())
		}
	})
}

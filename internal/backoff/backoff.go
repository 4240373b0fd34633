// Package backoff computes the delays between attempts that fail.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff yields delays that double from Min to Max, each with a random part so that things that failed together do not retry together.
// The zero value yields zero delays. It is not safe for use by several goroutines.
type Backoff struct {
	// Min and Max bound the delays. Max below Min counts as Min.
	Min, Max time.Duration

	failures int
}

// Next returns how long to wait after another failure: between half and all of Min, 2·Min, 4·Min, … Max.
func (b *Backoff) Next() time.Duration {
	ceiling := max(b.Min, b.Max)
	d := b.Min
	for range b.failures {
		if d >= ceiling/2 {
			d = ceiling
			break
		}
		d *= 2
	}
	b.failures++
	half := d / 2
	return half + rand.N(d-half+1)
}

// Failures returns how often Next was called since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset starts over after a success.
func (b *Backoff) Reset() { b.failures = 0 }

// Package delta compares what is wanted with what exists.
package delta

import "slices"

// Changes says how to get from what exists to what is wanted. Each slice is sorted by the comparison given to [Diff], so
// that rounds are reproducible.
type Changes[K comparable] struct {
	Add    []K // wanted, does not exist
	Change []K // wanted, exists differently
	Remove []K // exists, not wanted
}

// Empty is true when nothing has to be done.
func (c Changes[K]) Empty() bool {
	return len(c.Add) == 0 && len(c.Change) == 0 && len(c.Remove) == 0
}

// Diff compares two sets of objects by key. equal tells whether an existing object already is as wanted; compare orders
// keys as cmp.Compare does.
func Diff[K comparable, H, W any](have map[K]H, want map[K]W, equal func(have H, want W) bool, compare func(a, b K) int) Changes[K] {
	var c Changes[K]
	for k, w := range want {
		h, ok := have[k]
		switch {
		case !ok:
			c.Add = append(c.Add, k)
		case !equal(h, w):
			c.Change = append(c.Change, k)
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok {
			c.Remove = append(c.Remove, k)
		}
	}
	slices.SortFunc(c.Add, compare)
	slices.SortFunc(c.Change, compare)
	slices.SortFunc(c.Remove, compare)
	return c
}

package record

import "slices"

// Summary is what is told of several values.
type Summary struct{ Min, Median, Max float64 }

// Summarize returns the least, the middle and the greatest of at least one value; of an even number the middle is between the two.
func Summarize(values []float64) Summary {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Summary{v[0], (v[(n-1)/2] + v[n/2]) / 2, v[n-1]}
}

// Ratios are A/B of each turn. A turn in which B is 0 has none, unless A is 0 too: then they are equal.
func (s Series) Ratios() []float64 {
	var out []float64
	for i := range min(len(s.A), len(s.B)) {
		switch {
		case s.B[i] != 0:
			out = append(out, s.A[i]/s.B[i])
		case s.A[i] == 0:
			out = append(out, 1)
		}
	}
	return out
}

// Judged is the value that the goal is about, false when there is none.
func (s Series) Judged() (float64, bool) {
	values := s.A
	if s.Goal.Ratio {
		values = s.Ratios()
	}
	if len(values) == 0 || !s.Goal.IsSet() {
		return 0, false
	}
	return Summarize(values).Median, true
}

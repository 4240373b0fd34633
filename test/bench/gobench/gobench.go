// Package gobench reads what `go test -bench` prints.
package gobench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Values are those of every metric by benchmark name, without the number of processors, in the order of the runs.
type Values map[string]map[string][]float64

var processors = regexp.MustCompile(`-\d+$`)

// Parse reads benchmark lines and skips all others.
func Parse(r io.Reader) (Values, error) {
	out := Values{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := processors.ReplaceAllString(fields[0], "")
		if out[name] == nil {
			out[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", lines.Text(), err)
			}
			out[name][fields[i+1]] = append(out[name][fields[i+1]], v)
		}
	}
	return out, lines.Err()
}

// Size is one metric at one size.
type Size struct {
	Things string
	Size   int
	Values []float64
}

// Sizes are the values of a metric of all benchmarks NAME/THINGS=SIZE, by size.
func (v Values) Sizes(name, metric string) []Size {
	var out []Size
	for full, metrics := range v {
		rest, ok := strings.CutPrefix(full, name+"/")
		things, number, found := strings.Cut(rest, "=")
		size, err := strconv.Atoi(number)
		if !ok || !found || strings.Contains(things, "/") || err != nil || len(metrics[metric]) == 0 {
			continue
		}
		out = append(out, Size{things, size, metrics[metric]})
	}
	slices.SortFunc(out, func(a, b Size) int { return cmp.Compare(a.Size, b.Size) })
	return out
}

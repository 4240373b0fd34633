package page

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/test/bench/record"
)

// plot shows how one quantity grows with the size: the middle values, on a logarithmic axis of sizes.
type plot struct {
	quantity, unit, things string
	lines                  []line
}

type line struct {
	name   string
	points []point
}

type point struct {
	size  int
	value float64
}

// plots are those of a row's quantities that were measured at several sizes.
func plots(row record.Row) []plot {
	var out []plot
	for _, s := range row.Series {
		i := slices.IndexFunc(out, func(p plot) bool { return p.quantity == s.Quantity })
		if i < 0 {
			out = append(out, plot{quantity: s.Quantity, unit: s.Unit, things: s.Things})
			i = len(out) - 1
		}
		// bordergw beside several peers was measured as often: its line is the one beside the first of them.
		own := "bordergw"
		out[i].add(own, s.Size, s.A)
		if s.Peer != "" {
			out[i].add(s.Peer, s.Size, s.B)
		}
	}
	return slices.DeleteFunc(out, func(p plot) bool {
		return !slices.ContainsFunc(p.lines, func(l line) bool { return len(l.points) > 1 })
	})
}

func (p *plot) add(name string, size int, values []float64) {
	i := slices.IndexFunc(p.lines, func(l line) bool { return l.name == name })
	if i < 0 {
		p.lines = append(p.lines, line{name: name})
		i = len(p.lines) - 1
	}
	l := &p.lines[i]
	if slices.ContainsFunc(l.points, func(q point) bool { return q.size == size }) {
		return
	}
	l.points = append(l.points, point{size, record.Summarize(values).Median})
	slices.SortFunc(l.points, func(a, b point) int { return cmp.Compare(a.size, b.size) })
}

// Measures of a plot in pixels.
const (
	width, height = 560, 260
	left, right   = 60, 140
	top, bottom   = 34, 40
	plotWidth     = width - left - right
	plotHeight    = height - top - bottom
)

// colours are those of the lines, in turn.
func colours() []string { return []string{"#1f6feb", "#d1242f", "#1a7f37", "#8250df"} }

func (p plot) svg() string {
	var sizes []int
	most := 0.0
	for _, l := range p.lines {
		for _, q := range l.points {
			sizes, most = append(sizes, q.size), max(most, q.value)
		}
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	most = ceiling(most)
	low, high := math.Log10(float64(sizes[0])), math.Log10(float64(sizes[len(sizes)-1]))
	x := func(size int) float64 {
		if high == low {
			return left + plotWidth/2
		}
		return left + plotWidth*(math.Log10(float64(size))-low)/(high-low)
	}
	y := func(v float64) float64 { return top + plotHeight*(1-v/most) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-weight="bold">%s (%s)</text>`+"\n", left, html.EscapeString(p.quantity), html.EscapeString(p.unit))
	for i := range 5 {
		v := most * float64(i) / 4
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, left+plotWidth, y(v), y(v), left-6, y(v)+4, number(v))
	}
	for _, s := range sizes {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(s), top+plotHeight+18, count(s))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+plotWidth/2, height-6, html.EscapeString(p.things))
	for i, l := range p.lines {
		colour := colours()[i%len(colours())]
		var path []string
		for _, q := range l.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x(q.size), y(q.value)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(q.size), y(q.value), colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+plotWidth+12, top+12+16*i, colour, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// ceiling is the next of 1, 2, 4, 5 and 10 times a power of ten.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 5} {
		if v <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

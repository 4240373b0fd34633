package metrics

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// pageSize is how much is gathered before it is written.
const pageSize = 64 << 10

// page writes series in Prometheus' text format 0.0.4. The first error of the writer ends it; err tells.
type page struct {
	to  io.Writer
	buf []byte
	err error

	row *row
	// order has the indexes of the row's labels by name, as registries print them.
	order []int
	begun bool
	// own are the finished pairs of the first labels, for rows whose series have them in common.
	own [][]byte
}

// begin turns to the next row.
func (p *page) begin(r *row) {
	p.row, p.begun, p.own = r, false, nil
	p.order = p.order[:0]
	for i := range r.labels {
		p.order = append(p.order, i)
	}
	slices.SortFunc(p.order, func(a, b int) int { return strings.Compare(r.labels[a], r.labels[b]) })
}

// emit writes one series of the row; labels are the values that are not in own, in the row's order.
func (p *page) emit(value float64, labels ...string) {
	if p.err != nil {
		return
	}
	if !p.begun {
		p.begun = true
		p.head()
	}
	b := append(p.buf, p.row.name...)
	for i, label := range p.order {
		if i == 0 {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		if label < len(p.own) {
			b = append(b, p.own[label]...)
		} else {
			b = appendPair(b, p.row.labels[label], labels[label-len(p.own)])
		}
	}
	if len(p.order) > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = appendValue(b, value)
	p.buf = append(b, '\n')
	if len(p.buf) >= pageSize {
		p.flush()
	}
}

func (p *page) head() {
	kind := "gauge"
	if p.row.kind == prometheus.CounterValue {
		kind = "counter"
	}
	b := append(p.buf, "# HELP "...)
	b = append(b, p.row.name...)
	b = append(b, ' ')
	b = append(b, p.row.help...)
	b = append(b, "\n# TYPE "...)
	b = append(b, p.row.name...)
	b = append(b, ' ')
	b = append(b, kind...)
	p.buf = append(b, '\n')
}

func (p *page) flush() {
	if p.err == nil && len(p.buf) > 0 {
		_, p.err = p.to.Write(p.buf)
	}
	p.buf = p.buf[:0]
}

func appendPair(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, '=', '"')
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	for {
		i := strings.IndexAny(value, "\\\"\n")
		if i < 0 {
			break
		}
		b = append(b, value[:i]...)
		if value[i] == '\n' {
			b = append(b, '\\', 'n')
		} else {
			b = append(b, '\\', value[i])
		}
		value = value[i+1:]
	}
	b = append(b, value...)
	return append(b, '"')
}

// appendValue writes whole numbers in full, which is faster and easier to read.
func appendValue(b []byte, v float64) []byte {
	const exact = 1 << 53
	switch {
	case v == math.Trunc(v) && math.Abs(v) <= exact:
		return strconv.AppendInt(b, int64(v), 10)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

package metrics

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/internal/version"
)

// Handler serves the agent's metrics and those of the Go runtime and the process, in Prometheus' text format, compressed with gzip for
// who accepts that. It reads view at every request; while view returns nil only the build is known. build tells about the running program.
//
// It writes the format itself: a thousand tunnels have fifty thousand series, which take the usual registry and encoder twenty times as
// long.
func Handler(view func() *status.View, build version.Info) http.Handler {
	runtime := prometheus.NewRegistry()
	runtime.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &handler{view: view, build: build, rows: table(), runtime: runtime}
}

type handler struct {
	view    func() *status.View
	build   version.Info
	rows    []row
	runtime prometheus.Gatherer
	// compressors and buffers are kept between scrapes.
	compressors, buffers sync.Pool
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept-Encoding")
	var to io.Writer = w
	if acceptsGzip(r.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		z := h.compressor(w)
		defer h.compressors.Put(z)
		// A client that went away is nobody to tell.
		defer func() { _ = z.Close() }()
		to = z
	}
	if h.write(to) != nil {
		return
	}
	// What could be gathered comes with an error; the rest is missing.
	families, _ := h.runtime.Gather()
	encoder := expfmt.NewEncoder(to, format)
	for _, f := range families {
		if encoder.Encode(f) != nil {
			return
		}
	}
}

// write writes the agent's own metrics.
func (h *handler) write(to io.Writer) error {
	buffer, ok := h.buffers.Get().(*[]byte)
	if !ok {
		buffer = new(make([]byte, 0, pageSize+4096))
	}
	defer h.buffers.Put(buffer)
	p := &page{to: to, buf: (*buffer)[:0]}
	s := newScrape(h.view(), h.build)
	for i := range h.rows {
		p.begin(&h.rows[i])
		h.rows[i].collect(s, p)
	}
	p.flush()
	*buffer = p.buf
	return p.err
}

func (h *handler) compressor(to io.Writer) *gzip.Writer {
	if z, ok := h.compressors.Get().(*gzip.Writer); ok {
		z.Reset(to)
		return z
	}
	// The text repeats itself so much that more effort costs five times the time and saves little.
	z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
	if err != nil {
		panic(err) // The level is a valid one.
	}
	return z
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(header http.Header) bool {
	for _, line := range header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(strings.TrimSpace(coding), ";")
			if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
				continue
			}
			q, isQ := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !isQ || err == nil && weight > 0
		}
	}
	return false
}

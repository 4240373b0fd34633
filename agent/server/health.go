package server

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// HealthHandler serves /livez, /readyz and /metrics.
//
// /livez answers 200 as long as the process can answer at all. /readyz answers 200 after the first full apply and 503 before it; the
// body says what is missing. /metrics is metrics.
func HealthHandler(view func() *status.View, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if missing := notReady(view()); len(missing) > 0 {
			answer(w, http.StatusServiceUnavailable, "not ready: "+strings.Join(missing, "; "))
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

func answer(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// The client may be gone; there is nobody to tell.
	_, _ = io.WriteString(w, body+"\n")
}

// notReady explains why the first full apply is not done; it is empty when it is.
func notReady(v *status.View) []string {
	if v == nil || v.Host == nil {
		return []string{"the agent has not read its state yet"}
	}
	if v.Host.GetReady() {
		return nil
	}
	var missing []string
	source := v.Host.GetSource()
	switch errors := countErrors(source.GetFindings()); {
	case source.GetGeneration() > 0:
	case errors > 0:
		missing = append(missing, fmt.Sprintf("the desired state of %s was refused (%d errors)", source.GetSource(), errors))
	default:
		missing = append(missing, "no desired state has been read yet")
	}
	if !v.Host.GetCharonConnected() {
		missing = append(missing, "not connected to charon")
	}
	for _, g := range v.Gateways {
		if !g.GetStatus().GetProgrammed() {
			missing = append(missing, fmt.Sprintf("border gateway %s is not fully programmed", g.GetName()))
		}
	}
	if len(missing) == 0 {
		missing = append(missing, "the first full apply is under way")
	}
	return missing
}

func countErrors(findings []*apiv1.Finding) int {
	n := 0
	for _, f := range findings {
		if !f.GetWarning() {
			n++
		}
	}
	return n
}

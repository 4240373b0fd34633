package api

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
)

//go:embed openapi.yaml
var openAPI []byte //nolint:gochecknoglobals // embedded files are variables

const (
	// maxRequest bounds one request, in bytes: an Apply of some thousand resources.
	maxRequest    = 8 << 20
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
	// shutdownGrace is for requests under way; streams are ended at once.
	shutdownGrace = 5 * time.Second
)

// HandlerOptions is what every service of the controller is served with: who may call what, how much may be sent, and no panic of one
// request ends the others.
func HandlerOptions(rules access.Rules, log *slog.Logger) []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithReadMaxBytes(maxRequest),
		connect.WithInterceptors(access.Interceptor(rules)),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, v any) error {
			log.Error("a request panicked", "procedure", spec.Procedure, "panic", v)
			return connect.NewError(connect.CodeInternal, errors.New("internal error; the controller's log has more"))
		}),
	}
}

// ResourceRules is who may call the ResourceService: operators all, viewers what changes nothing, agents nothing.
func ResourceRules(procedure string) []access.Role {
	method, ok := strings.CutPrefix(procedure, "/"+apiv1connect.ResourceServiceName+"/")
	switch {
	case !ok:
		return nil
	case method == "ListAudit":
		return []access.Role{access.Operator}
	case method == "Watch", strings.HasPrefix(method, "Get"), strings.HasPrefix(method, "List"):
		return []access.Role{access.Operator, access.Viewer}
	}
	return []access.Role{access.Operator}
}

// Register puts the ResourceService and its description on a mux.
func (h *Resources) Register(mux *http.ServeMux) {
	mux.Handle(apiv1connect.NewResourceServiceHandler(h, HandlerOptions(ResourceRules, h.Log)...))
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI) // a client that left needs no answer
	})
}

// Serve answers until ctx ends, then lets short requests finish. It owns the listener.
func Serve(ctx context.Context, l net.Listener, settings *tls.Config, handler http.Handler, log *slog.Logger) error {
	streams, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	srv := &http.Server{
		Handler: handler, TLSConfig: settings, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(log.With("server", "api").Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return streams },
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve API on %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		// Streams never end by themselves: they get a moment to be idle, then their context ends.
		stop := time.AfterFunc(shutdownGrace/5, end)
		defer stop.Stop()
		if err := srv.Shutdown(grace); err != nil {
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}

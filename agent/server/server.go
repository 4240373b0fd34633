package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bordergw/bordergw/agent/status"
)

const (
	// shutdownGrace is how long running requests may take after the end was asked for. They take moments, and
	// streams end by themselves, so what takes longer is a client that does not read.
	shutdownGrace = 3 * time.Second
	// headerTimeout and idleTimeout keep dead clients from holding connections.
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	// writeTimeout is longer than any scrape timeout in use.
	writeTimeout = time.Minute
	// maxHeader is ample for what these clients send.
	maxHeader = 64 << 10
)

// Config is what a Server needs. View and Metrics are called for each request and must be safe for concurrent use.
type Config struct {
	// View returns the newest published View, or nil before there is one.
	View func() *status.View
	// Control carries out changes; nil when nothing can be changed.
	Control Control
	// Planner tells what manifests would change; nil when nobody can.
	Planner Planner
	// Teller tells events and logs; nil when nobody can.
	Teller Teller
	// Metrics serves the metrics.
	Metrics http.Handler
	// Log gets faults of connections at debug level.
	Log *slog.Logger
}

// Server serves the local API and the health endpoints.
type Server struct {
	api, health http.Handler
	log         *slog.Logger
}

// New returns a Server; it does nothing before Serve.
func New(c Config) *Server {
	return &Server{api: APIHandler(c.View, c.Control, c.Planner, c.Teller), health: HealthHandler(c.View, c.Metrics), log: c.Log}
}

// Serve answers on both listeners until ctx ends, then lets running requests finish for at most three seconds, and returns nil. It
// owns the listeners from the call on and has closed them when it returns. metrics may be nil: then there are no health endpoints.
// When one listener fails, the other one is stopped and the fault is returned.
func (s *Server) Serve(ctx context.Context, api, metrics net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	s.start(ctx, g, "local API", api, s.api)
	if metrics != nil {
		s.start(ctx, g, "metrics", metrics, s.health)
	}
	return g.Wait()
}

func (s *Server) start(ctx context.Context, g *errgroup.Group, what string, l net.Listener, handler http.Handler) {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       writeTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.With("server", what).Handler(), slog.LevelDebug),
		Protocols:         protocols(),
		// Streams end with the server.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer,
	}
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s on %s: %w", what, l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := srv.Shutdown(bounded); err != nil {
			s.log.Debug("closing connections that did not end in time", "server", what, "err", err)
			return closeAll(srv)
		}
		return nil
	})
}

// closeAll ends what Shutdown left; the listener is closed already, which is not a fault.
func closeAll(srv *http.Server) error {
	if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close connections: %w", err)
	}
	return nil
}

// protocols allows HTTP/2 without TLS beside HTTP/1: gRPC needs it, and there is no TLS on a local socket.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

package gobgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// servers starts and stops every BgpServer of the process, because they are not as independent as they look: StartBgp assigns
// package variables (table.SelectionOptions and table.UseMultiplePaths, in v4.8.0) that all running servers read without a lock.
// The values are the same for all, and while they are written all other servers stand still.
type servers struct {
	mu      sync.Mutex
	running map[*server.BgpServer]struct{}
}

func newServers() *servers { return &servers{running: map[*server.BgpServer]struct{}{}} }

// identity is what a server cannot change while it runs.
type identity struct {
	asn      uint32
	routerID netip.Addr
	device   string
	listen   []netip.Addr
	port     uint16
}

// start returns a running server without neighbors, policies or routes.
func (p *servers) start(ctx context.Context, log *slog.Logger, id identity) (*server.BgpServer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	global := &api.Global{
		Asn:          id.asn,
		RouterId:     id.routerID.String(),
		ListenPort:   int32(id.port),
		BindToDevice: id.device,
		// Both tables always (0 is IPv4 unicast, 1 is IPv6 unicast): they are fixed here, and the first IPv6 neighbor of a gateway
		// must not cost the others their sessions. Never empty, which means all families at 10 MB a server.
		Families:         []uint32{0, 1},
		UseMultiplePaths: true,
	}
	for _, a := range id.listen {
		global.ListenAddresses = append(global.ListenAddresses, a.String())
	}
	s := server.NewBgpServer(server.LoggerOption(log, nil))
	go s.Serve()
	resume := p.pause()
	err := s.StartBgp(ctx, &api.StartBgpRequest{Global: global})
	resume()
	if err != nil {
		s.Stop() // a listener may be open already
		return nil, fmt.Errorf("start BGP speaker on port %d of device %q: %w", id.port, id.device, err)
	}
	p.running[s] = struct{}{}
	return s, nil
}

// stop ends all sessions with a Cease, waits until the server's goroutines are gone and frees its sockets.
func (p *servers) stop(ctx context.Context, s *server.BgpServer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, s)
	err := s.StopBgp(ctx, &api.StopBgpRequest{})
	s.Stop() // also ends what StopBgp leaves behind: the BFD server's goroutine
	if err != nil {
		return fmt.Errorf("stop BGP speaker: %w", err)
	}
	return nil
}

// forget leaves a server running that only the end of the process will end.
func (p *servers) forget(s *server.BgpServer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, s)
}

// pause stops all running servers between two operations, where none reads a package variable, until the returned function is
// called. A server has no call for that, so an operation that changes nothing is made to wait in its middle.
func (p *servers) pause() (resume func()) {
	release := make(chan struct{})
	var waiting, done sync.WaitGroup
	for s := range p.running {
		b := &barrier{release: release}
		waiting.Add(1)
		b.entered = sync.OnceFunc(waiting.Done)
		done.Go(func() {
			defer b.entered() // a server that refuses the operation reads nothing either
			// Two attributes of one type are refused before any route is touched.
			_ = s.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{{
				Family: gobgpbgp.RF_IPv4_UC,
				Attrs:  []gobgpbgp.PathAttributeInterface{b, b},
			}}})
		})
	}
	waiting.Wait()
	return func() {
		close(release)
		done.Wait()
	}
}

// barrier is a path attribute that, when the server looks at its type, holds the server.
type barrier struct {
	gobgpbgp.PathAttributeInterface
	entered func()
	release <-chan struct{}
}

// GetType is called under the server's lock.
func (b *barrier) GetType() gobgpbgp.BGPAttrType {
	b.entered()
	<-b.release
	return gobgpbgp.BGP_ATTR_TYPE_ORIGIN
}

package gobgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/bgp"
)

// gateway is one speaker: what is wanted, and what its GoBGP server has been told.
type gateway struct {
	d    *Driver
	name string
	view *view
	// forwarding is what is wanted, for Run.
	forwarding atomic.Bool

	mu        sync.Mutex // held while the server is changed
	closed    bool
	server    *server.BgpServer // nil without neighbors
	stopWatch context.CancelFunc
	want      bgp.Speaker
	have      bgp.Speaker
	policies  *api.SetPoliciesRequest
	holds     map[string]*hold
	seen      map[string]bool // neighbors added since the driver started
	dials     map[string]bool // neighbors that have been, or are, left to connect by themselves
}

func newGateway(d *Driver, name string) *gateway {
	return &gateway{d: d, name: name, view: newView(time.Now), holds: map[string]*hold{}, seen: map[string]bool{}, dials: map[string]bool{}}
}

func (g *gateway) apply(ctx context.Context, s bgp.Speaker) (bgp.Result, error) {
	want, bad, err := bgp.Check(s)
	if err != nil {
		return bgp.Result{}, fmt.Errorf("speaker of %s: %w", g.name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return bgp.Result{}, errClosed
	}
	if want.Port == 0 {
		want.Port = bgp.Port
	}
	if len(want.ListenAddresses) == 0 {
		want.ListenAddresses = unspecified()
	}
	g.want = want
	g.forwarding.Store(want.Forwarding)
	g.forgetHolds()
	result := bgp.Result{Errors: bad}
	if err := g.converge(ctx, result.Errors); err != nil {
		return result, fmt.Errorf("speaker of %s: %w", g.name, err)
	}
	return result, nil
}

// converge makes the server what is wanted, without the neighbors that are held back. It adds to errs what cannot be done.
func (g *gateway) converge(ctx context.Context, errs map[string]error) error {
	if len(g.want.Neighbors) == 0 {
		return g.stop(ctx)
	}
	want := g.want
	want.Neighbors = slices.DeleteFunc(slices.Clone(want.Neighbors), func(n bgp.Neighbor) bool { return g.held(n.Name) })
	change := bgp.Diff(g.have, want)
	if g.server == nil || change.Restart {
		if err := g.stop(ctx); err != nil {
			return err
		}
		if err := g.start(ctx, want); err != nil {
			return err
		}
		change = bgp.Diff(g.have, want)
	}
	if change.Empty() {
		return nil
	}
	defer g.view.recount()
	if err := g.remove(ctx, change.Remove); err != nil {
		return err
	}
	if err := g.setPolicies(ctx, want); err != nil {
		return err
	}
	if err := g.announce(change, want, errs); err != nil {
		return err
	}
	for _, n := range change.Limit {
		if err := g.update(ctx, n); err != nil {
			errs[n.Name] = err
		}
	}
	for _, n := range change.Rejudge {
		if g.view.rejudge(n) {
			g.d.emit(bgp.RoutesChanged{Gateway: g.name})
		}
	}
	for _, n := range change.SoftOut {
		if err := g.softOut(ctx, n); err != nil {
			errs[n.Name] = err
		}
	}
	// What soft resets could not do is tried again because these neighbors stay as they were in g.have.
	for _, n := range want.Neighbors {
		if i := g.index(n.Name); i >= 0 && errs[n.Name] == nil {
			g.have.Neighbors[i] = n
		}
	}
	for _, n := range change.Add {
		if err := g.add(ctx, n); err != nil {
			errs[n.Name] = err
			g.view.note(n.Address, err.Error())
		}
	}
	return nil
}

func (g *gateway) start(ctx context.Context, want bgp.Speaker) error {
	log := slog.New(&logHandler{
		next: g.d.opts.Log.With("gateway", g.name).Handler(),
		note: func(addr netip.Addr, message string) {
			if n := g.view.note(addr, message); n != "" {
				g.d.emit(bgp.SessionChanged{Gateway: g.name, Neighbor: n})
			}
		},
	})
	s, err := g.d.servers.start(ctx, log, identity{
		asn: want.ASN, routerID: want.RouterID, device: want.Device, listen: want.ListenAddresses, port: want.Port,
	})
	if err != nil {
		return err
	}
	watch, cancel := context.WithCancel(context.Background())
	// Before policy, which lets nothing in; and after it GoBGP makes an event of each path, with a copy of the whole neighbor, instead of one of
	// each message. Withdrawals that no peer has sent are watched apart, but for those after a restart: see endOfRIB.
	err = s.WatchEvent(watch, g.callbacks(g.view.begin()), server.WatchUpdate(false, "", ""), server.WatchAdjInWithdraw(), server.WatchEor(false),
		server.WatchPeer())
	if err == nil {
		empty := want
		empty.Neighbors = nil
		err = assign(ctx, s, policies(empty))
	}
	if err != nil {
		cancel()
		_ = g.d.servers.stop(ctx, s)
		return fmt.Errorf("set up BGP speaker: %w", err)
	}
	g.server, g.stopWatch, g.policies = s, cancel, nil
	g.have = want
	g.have.Neighbors, g.have.Announcements = nil, nil
	return nil
}

// assign makes the two policies the ones of the global table, and refusal what happens to routes that they say nothing about.
// SetPolicies keeps this assignment.
func assign(ctx context.Context, s *server.BgpServer, req *api.SetPoliciesRequest) error {
	if err := s.SetPolicies(ctx, req); err != nil {
		return err
	}
	for name, direction := range map[string]api.PolicyDirection{
		importPolicy: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		exportPolicy: api.PolicyDirection_POLICY_DIRECTION_EXPORT,
	} {
		err := s.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: direction, Policies: []*api.Policy{{Name: name}},
			DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// stop ends the server, if there is one, and everything learned from its neighbors.
func (g *gateway) stop(ctx context.Context) error {
	if g.server == nil {
		return nil
	}
	err := g.d.servers.stop(ctx, g.server)
	g.stopWatch()
	g.server, g.have, g.policies = nil, bgp.Speaker{}, nil
	for _, name := range g.view.clear() {
		g.d.emit(bgp.SessionChanged{Gateway: g.name, Neighbor: name})
	}
	g.d.emit(bgp.RoutesChanged{Gateway: g.name})
	return err
}

// close ends the gateway for good. With keep the server goes on until the process ends.
func (g *gateway) close(ctx context.Context, keep bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.want.Neighbors = nil
	g.forgetHolds()
	if keep && g.server != nil {
		g.stopWatch()
		g.d.servers.forget(g.server)
		g.server = nil
		return nil
	}
	return g.stop(ctx)
}

func (g *gateway) setPolicies(ctx context.Context, want bgp.Speaker) error {
	req := policies(want)
	if g.policies != nil && proto.Equal(req, g.policies) {
		return nil
	}
	if err := g.server.SetPolicies(ctx, req); err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	g.policies = req
	return nil
}

// batch is how many routes GoBGP is given at once; meanwhile it does nothing else.
const batch = 1000

// announce originates new routes before it withdraws old ones.
func (g *gateway) announce(change bgp.Change, want bgp.Speaker, errs map[string]error) error {
	var add, remove []*apiutil.Path
	for p, o := range change.Announce {
		path, err := localPath(p, o)
		if err != nil {
			errs[p.String()] = err
			continue
		}
		add = append(add, path)
	}
	for _, p := range change.Withdraw {
		path, err := localPath(p, bgp.Originated{})
		if err != nil {
			return err
		}
		path.Withdrawal = true
		remove = append(remove, path)
	}
	for part := range slices.Chunk(add, batch) {
		if _, err := g.server.AddPath(apiutil.AddPathRequest{Paths: part}); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
	}
	for part := range slices.Chunk(remove, batch) {
		if err := g.server.DeletePath(apiutil.DeletePathRequest{Paths: part}); err != nil {
			return fmt.Errorf("withdraw: %w", err)
		}
	}
	g.have.Announcements = want.Announcements
	return nil
}

func (g *gateway) index(neighbor string) int {
	return slices.IndexFunc(g.have.Neighbors, func(n bgp.Neighbor) bool { return n.Name == neighbor })
}

// unspecified returns the addresses to listen on: IPv6 may be missing from the kernel, and GoBGP gives up on the first failure.
func unspecified() []netip.Addr {
	l := []netip.Addr{netip.IPv4Unspecified()}
	if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		_ = unix.Close(fd)
		l = append(l, netip.IPv6Unspecified())
	}
	return l
}

package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// publisher puts the gateways' fragments together to the view that readers share. Many changes in a short time make one view.
type publisher struct {
	host func() *apiv1.GetHostResponse
	view atomic.Pointer[status.View]
	kick chan struct{}

	mu        sync.Mutex
	fragments map[string]fragment
	// newer is closed when the next view has been published.
	newer chan struct{}
	// tell takes the events between what was put and what was before; it does not wait.
	tell func(*apiv1.HostEvent)
}

func newPublisher(host func() *apiv1.GetHostResponse, tell func(*apiv1.HostEvent)) *publisher {
	p := &publisher{host: host, tell: tell, kick: make(chan struct{}, 1), newer: make(chan struct{}), fragments: map[string]fragment{}}
	p.publish()
	return p
}

func (p *publisher) put(gateway string, f fragment) {
	p.mu.Lock()
	for _, e := range happened(p.fragments[gateway], f) {
		p.tell(e)
	}
	p.fragments[gateway] = f
	p.mu.Unlock()
	p.poke()
}

func (p *publisher) drop(gateway string) {
	p.mu.Lock()
	for _, t := range p.fragments[gateway].tunnels {
		p.tell(&apiv1.HostEvent{Type: apiv1.EventTunnelGone, Object: apiv1.ObjectName(apiv1.KindVPNTunnel, t.GetName())})
	}
	delete(p.fragments, gateway)
	p.mu.Unlock()
	p.poke()
}

// poke publishes soon.
func (p *publisher) poke() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *publisher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.kick:
			p.publish()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(publishPause):
		}
	}
}

// publishPause is between two views: a change is seen at once, many that follow each other are put together.
const publishPause = 20 * time.Millisecond

func (p *publisher) publish() {
	p.mu.Lock()
	fragments := maps.Clone(p.fragments)
	p.mu.Unlock()
	v := &status.View{Host: p.host(), Logs: map[string][]*apiv1.LogEntry{}}
	for _, name := range slices.Sorted(maps.Keys(fragments)) {
		f := fragments[name]
		v.Gateways = append(v.Gateways, f.gateway)
		v.Connections = append(v.Connections, f.connections...)
		v.Tunnels = append(v.Tunnels, f.tunnels...)
		v.Routes = append(v.Routes, f.routes...)
		v.Reconcile = append(v.Reconcile, f.stats)
		maps.Copy(v.Logs, f.logs)
	}
	slices.SortFunc(v.Connections, func(a, b *apiv1.ConnectionView) int {
		return cmp.Compare(a.GetConnection().GetName(), b.GetConnection().GetName())
	})
	slices.SortFunc(v.Tunnels, func(a, b *apiv1.VPNTunnel) int { return cmp.Compare(a.GetName(), b.GetName()) })
	p.mu.Lock()
	defer p.mu.Unlock()
	var before *apiv1.GetHostResponse
	if old := p.view.Load(); old != nil {
		before = old.Host
	}
	for _, e := range hostEvents(before, v.Host) {
		p.tell(e)
	}
	p.view.Store(v)
	close(p.newer)
	p.newer = make(chan struct{})
}

// published returns the newest view and a channel that is closed when there is a newer one.
func (p *publisher) published() (*status.View, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view.Load(), p.newer
}

// hostView is what the agent tells about itself.
func (a *Agent) hostView() *apiv1.GetHostResponse {
	out := &apiv1.GetHostResponse{
		Host: a.host.Name, Version: a.opts.Version, CharonVersion: a.drivers.Charon.Version(), CharonConnected: a.drivers.Charon.Connected(),
		Ready: a.ready.Load(), Source: a.source.Status(), Started: timestamppb.New(a.started), XfrmErrors: a.xfrm.ofAll(),
	}
	can, _ := a.drivers.Charon.Capabilities()
	out.CharonMlKem = can.MLKEM
	out.OrphanedStatesRemoved, out.OrphanedPoliciesRemoved = a.orphans.removedSAs.Load(), a.orphans.removedPolicies.Load()
	for _, addr := range a.host.Addresses {
		out.Addresses = append(out.Addresses, addr.String())
	}
	out.Local = a.local.Host()
	if err := a.local.Problem(); err != nil {
		out.Conditions = append(out.Conditions, &apiv1.Condition{Type: apiv1.ConditionLocalState, Object: "Host/" + a.host.Name,
			Message: err.Error() + "; tunnels are as their manifests say", Since: out.Started})
	}
	return out
}

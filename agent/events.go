package agent

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// Events are hints: they only say whose round is due.

func (a *Agent) onCharon(e charon.Event) {
	switch e.Kind {
	case charon.LogLine:
		a.tracker.Log(e.Tunnel, e.Time, e.Message)
	case charon.FailureSeen:
		a.tracker.Log(e.Tunnel, e.Time, e.Reason+": "+e.Message)
		a.pokeTunnel(e.Tunnel)
	case charon.TunnelChanged:
		a.pokeTunnel(e.Tunnel)
	case charon.Disconnected:
		a.log.Warn("charon does not answer")
		a.pokeAll()
	case charon.Resync:
		if a.drivers.Charon.Connected() {
			a.seenOnce.Do(func() { close(a.charonSeen) })
			if can, _ := a.drivers.Charon.Capabilities(); can != a.can {
				a.can = can
				if a.opts.CharonChanged != nil {
					a.opts.CharonChanged(can)
				}
			}
		}
		a.pokeAll()
	}
}

func (a *Agent) onProbe(e probe.Event) {
	a.tracker.Log(e.Tunnel, e.State.Since, "probe: "+e.State.State)
	a.pokeTunnel(e.Tunnel)
}

func (a *Agent) onBFD(e bfd.Event) {
	text := "BFD: " + e.State.State + ", the peer " + e.State.Peer
	if e.State.Diagnostic != "" {
		text += ": " + e.State.Diagnostic
	}
	a.tracker.Log(e.Tunnel, time.Now(), text)
	a.pokeTunnel(e.Tunnel)
}

func (a *Agent) onBGP(e bgp.Event) {
	a.poke(e.EventGateway())
}

func (a *Agent) onHint(h dataplane.Hint) {
	a.log.Debug("hint", "kind", h.Kind, "gateway", h.Gateway, "object", h.Object, "reason", h.Reason)
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, w := range a.workers {
		if h.Gateway == "" || h.Gateway == name {
			if h.Kind == dataplane.Resync {
				w.resyncs.Add(1)
			}
			w.poke()
		}
	}
}

func (a *Agent) pokeTunnel(tunnel string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := a.workers[a.gatewayOf[tunnel]]; ok {
		w.poke()
	}
}

func (a *Agent) poke(gateway string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w, ok := a.workers[gateway]; ok {
		w.poke()
	}
}

func (a *Agent) pokeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		w.poke()
	}
	a.publisher.poke()
}

// tunnelWarnings are the source's warnings by tunnel, as conditions.
func tunnelWarnings(s *apiv1.SourceStatus) map[string][]*apiv1.Condition {
	out := map[string][]*apiv1.Condition{}
	for _, f := range s.GetFindings() {
		name, ok := tunnelOf(f.GetObject())
		if !ok || !f.GetWarning() {
			continue
		}
		since := s.GetAccepted()
		if since == nil {
			since = timestamppb.Now()
		}
		out[name] = append(out[name], &apiv1.Condition{Type: apiv1.ConditionWeakProposal, Object: f.GetObject(),
			Message: f.GetField() + ": " + f.GetMessage(), Since: since})
	}
	return out
}

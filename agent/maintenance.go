package agent

import (
	"context"
	"net/netip"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Local returns the keeper of what operators change on this host.
func (a *Agent) Local() *local.Keeper { return a.local }

func (a *Agent) newKeeper() *local.Keeper {
	return local.New(local.Options{
		File: local.NewFile(a.opts.State), Log: a.log, Forwarded: a.forwarded,
		View: func() *status.View { return a.View() },
		Told: a.toldLocal,
		Changed: func() {
			select {
			case a.localChanged <- struct{}{}:
			default:
			}
		},
	})
}

// toldLocal makes events of what operators do.
func (a *Agent) toldLocal(p *apiv1.DrainProgress, c *apiv1.LocalChange) {
	e := &apiv1.HostEvent{Type: apiv1.EventDrainStage, Object: apiv1.ObjectName(apiv1.KindVPNTunnel, p.GetTunnel()), New: p.GetStage(),
		Message: p.GetMessage()}
	if p.GetStage() == "" {
		e.Type, e.New = apiv1.EventLocalChange, c.GetState()
		if c.GetBy() != "" {
			e.Message = "by " + c.GetBy()
		}
	}
	a.ring.Publish(e)
}

// forwarded is what the firewall counts, by tunnel.
func (a *Agent) forwarded(ctx context.Context) (map[string]local.Forwarded, error) {
	counted, err := a.drivers.Firewall.Forwarded(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]local.Forwarded{}
	for _, t := range a.View().Tunnels {
		if c, ok := counted[t.GetStatus().GetInterfaceName()]; ok {
			out[t.GetName()] = local.Forwarded{In: c.In.Packets, Out: c.Out.Packets}
		}
	}
	return out, nil
}

// ownTunnels are the names of the set's tunnels that this host owns.
func ownTunnels(set *apiv1.Set, host plan.Host) []string {
	var out []string
	for _, name := range apiv1.Names(set.Tunnels) {
		if addr, err := netip.ParseAddr(set.Tunnels[name].GetSpec().GetCloudAddress()); err == nil && host.Owns(addr) {
			out = append(out, name)
		}
	}
	return out
}

// localConditions say what is to be known of a tunnel that an operator changed here.
func localConditions(t *plan.Tunnel) []*apiv1.Condition {
	if t.Local.GetState() != apiv1.LocalDraining {
		return nil
	}
	message := "traffic is being moved away"
	if t.Local.GetStage() == apiv1.DrainTimedOut {
		message = "traffic was moved away, but " + t.Local.GetMessage()
	}
	return []*apiv1.Condition{{Type: apiv1.ConditionDraining, Object: apiv1.ObjectName(apiv1.KindVPNTunnel, t.Name), Message: message,
		Since: t.Local.GetSince()}}
}

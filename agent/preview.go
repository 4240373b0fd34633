package agent

import (
	"errors"
	"net/netip"

	"github.com/bordergw/bordergw/api/impact"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// errNoPlans says that the agent's desired state does not come from manifests.
var errNoPlans = errors.New("this agent reads no manifests")

// Plan tells what a desired state would change on this host, and does nothing. A state that would be refused has findings, and changes
// only when nothing but the way to it is refused.
func (a *Agent) Plan(files []manifest.File) (*apiv1.PlanResponse, error) {
	if a.opts.Parse == nil {
		return nil, errNoPlans
	}
	out := &apiv1.PlanResponse{Host: a.host.Name}
	set, findings, positions := a.opts.Parse(files)
	out.Findings = findings
	if set == nil {
		return out, nil
	}
	old := a.inForce.Load()
	if old == nil {
		old = apiv1.NewSet()
	}
	refusals := apiv1.AdmitChange(old.WithDown(a.local.Down), set)
	positions.Locate(refusals)
	out.Findings = append(out.Findings, refusals...)
	out.Accepted = !apiv1.Refused(out.Findings)
	out.Changes = impact.Changes(old, set, impact.Scope{Host: a.owner, Down: a.local.Down})
	out.Impact = impact.Greatest(out.Changes)
	return out, nil
}

// owner is this host for its own addresses; of others nothing is known.
func (a *Agent) owner(cloud netip.Addr) string {
	if a.host.Owns(cloud) {
		return a.host.Name
	}
	return ""
}

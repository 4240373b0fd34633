package local

import (
	"slices"
	"strings"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Change carries out a request of the user by. It returns when the change is on disk and in force for the next plans; the tunnels
// follow at once, but later.
func (k *Keeper) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	view := facts{k.opts.View()}
	k.mu.Lock()
	defer k.mu.Unlock()
	tunnel := req.GetTunnel()
	if tunnel != "" && view.tunnel(tunnel) == nil {
		return nil, refuse(Unknown, "tunnel %q is not on this host", tunnel)
	}
	switch req.GetAction() {
	case apiv1.ActionDisable:
		if tunnel == "" {
			return nil, refuse(Invalid, "tunnel: is required; a whole host is drained")
		}
		return k.disable(view, by, req)
	case apiv1.ActionEnable, apiv1.ActionAbort:
		if tunnel == "" {
			return k.restoreHost(view, req.GetAction())
		}
		return k.restore(view, req)
	}
	return nil, refuse(Invalid, "action: %q is none of %s", req.GetAction(),
		strings.Join([]string{apiv1.ActionDisable, apiv1.ActionEnable, apiv1.ActionAbort}, ", "))
}

func (k *Keeper) disable(view facts, by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	name := req.GetTunnel()
	out := &apiv1.ChangeResponse{Tunnels: []*apiv1.ChangedTunnel{{Name: name}}}
	if have := k.now.tunnels[name]; apiv1.LocallyDown(have) {
		out.Tunnels[0].Local = have
		out.Notes = append(out.Notes, "tunnel "+name+" is down already: "+have.GetState())
		return out, nil
	}
	notes, err := k.mayGo(view, []string{name}, req.GetConnectionsUpElsewhere(), req.GetForce())
	if err != nil {
		return nil, err
	}
	out.Notes = notes
	c := &apiv1.LocalChange{State: apiv1.LocalDisabled, Since: stamp(time.Now()), By: by, Host: k.now.tunnels[name].GetHost()}
	out.Tunnels[0].Local = c
	next := k.now.clone()
	next.tunnels[name] = c
	if err := k.commit(next); err != nil {
		return nil, err
	}
	k.opts.Log.Info("tunnel disabled", "tunnel", name, "by", by)
	k.step(name, apiv1.DrainAborted, "disabled by "+by)
	k.told(&apiv1.DrainProgress{Tunnel: name}, c)
	return out, nil
}

// mayGo says what is to be noted when tunnels go, or refuses.
func (k *Keeper) mayGo(view facts, going, elsewhere []string, force bool) ([]string, error) {
	lonely := view.lonely(going, elsewhere)
	if len(lonely) > 0 && !force {
		return nil, refuse(Refused, "%s; force is needed", strings.Join(lonely, "; "))
	}
	return lonely, nil
}

// restore ends the local change of one tunnel.
func (k *Keeper) restore(view facts, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	name := req.GetTunnel()
	out := &apiv1.ChangeResponse{Tunnels: []*apiv1.ChangedTunnel{{Name: name}}}
	have := k.now.tunnels[name]
	abort := req.GetAction() == apiv1.ActionAbort
	switch {
	case abort && have.GetState() != apiv1.LocalDraining && have.GetState() != apiv1.LocalDrained:
		return nil, refuse(Refused, "tunnel %s is not being drained", name)
	case have.GetHost() && k.now.host != nil:
		return nil, refuse(Refused, "tunnel %s is down with the whole host: enable the host", name)
	case have == nil:
		out.Notes = append(out.Notes, "tunnel "+name+" has no local change")
	case abort && have.GetState() == apiv1.LocalDrained:
		out.Notes = append(out.Notes, "tunnel "+name+" was down already and comes up again")
	}
	out.Notes = append(out.Notes, stillDown(view, name)...)
	if have == nil {
		return out, nil
	}
	next := k.now.clone()
	delete(next.tunnels, name)
	if err := k.commit(next); err != nil {
		return nil, err
	}
	k.opts.Log.Info("local change ended", "tunnel", name, "was", have.GetState())
	k.step(name, apiv1.DrainAborted, "the tunnel is in service again")
	k.told(&apiv1.DrainProgress{Tunnel: name}, nil)
	return out, nil
}

func stillDown(view facts, name string) []string {
	if view.tunnel(name).GetSpec().GetAdminState() == apiv1.AdminStateDown {
		return []string{"tunnel " + name + " stays down: its manifest says adminState DOWN"}
	}
	return nil
}

// restoreHost ends the change of the whole host and those of tunnels that came with it. Tunnels that were changed one by one stay so.
func (k *Keeper) restoreHost(view facts, action string) (*apiv1.ChangeResponse, error) {
	out := &apiv1.ChangeResponse{}
	if k.now.host == nil {
		if action == apiv1.ActionAbort {
			return nil, refuse(Refused, "the host is not being drained")
		}
		out.Notes = append(out.Notes, "the host has no local change")
		return out, nil
	}
	next := k.now.clone()
	next.host = nil
	for _, name := range apiv1.Names(next.tunnels) {
		if !next.tunnels[name].GetHost() {
			out.Notes = append(out.Notes, "tunnel "+name+" stays "+next.tunnels[name].GetState()+": it was changed by itself")
			continue
		}
		delete(next.tunnels, name)
		out.Tunnels = append(out.Tunnels, &apiv1.ChangedTunnel{Name: name})
		out.Notes = append(out.Notes, stillDown(view, name)...)
	}
	if err := k.commit(next); err != nil {
		return nil, err
	}
	k.opts.Log.Info("the host is in service again")
	slices.Sort(out.Notes)
	for _, t := range out.Tunnels {
		k.step(t.GetName(), apiv1.DrainAborted, "the host is in service again")
		k.told(&apiv1.DrainProgress{Tunnel: t.GetName()}, nil)
	}
	return out, nil
}

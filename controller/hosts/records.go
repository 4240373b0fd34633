package hosts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

// batchSize bounds one transaction, in tunnels; etcd takes 128 operations unless it is told otherwise.
const batchSize = 100

// register keeps what the host told about itself, and makes sure that the view has everything that was acknowledged before: a revision
// that the agent has and the view has not is then one of a store that was put back.
func (c *session) register(ctx context.Context) error {
	if err := c.server.opts.Store.Sync(ctx); err != nil {
		return err
	}
	h := c.hello
	want := &apiv1.HostRecord{Name: c.host, Zone: h.GetZone(), Addresses: h.GetAddresses(), Capabilities: h.GetCapabilities(), PublicKey: h.GetPublicKey()}
	_, err := c.server.opts.Store.Write(ctx, func(tx *store.Tx) error {
		if rec := tx.Get(fleet.Host(c.host)); rec != nil {
			old := proto.CloneOf(rec.Value.GetHost())
			old.Registered = nil
			if proto.Equal(old, want) {
				return nil
			}
		}
		now := proto.CloneOf(want)
		now.Registered = timestamppb.Now()
		tx.Put(fleet.Host(c.host), &apiv1.Stored{Host: now})
		return nil
	})
	return err
}

// tell writes what the store does not know yet, and renews the host's lease. What fails is to be tried again.
func (c *session) tell(ctx context.Context) error {
	if err := errors.Join(c.tellAnswer(ctx), c.tellReplies(ctx)); err != nil {
		return err
	}
	for len(c.pending) > batchSize {
		names := slices.Sorted(maps.Keys(c.pending))[:batchSize]
		if err := c.write(ctx, names, false); err != nil {
			return err
		}
	}
	if c.lease == 0 && !c.complete {
		// Until the host has told the state of all its tunnels, its return is none.
		return nil
	}
	appear := c.lease == 0
	if appear {
		lease, err := c.server.opts.Store.Grant(ctx, c.server.opts.Lease)
		if err != nil {
			return err
		}
		c.lease, c.renewed = lease, time.Now()
	}
	if appear || len(c.pending) > 0 {
		if err := c.write(ctx, slices.Sorted(maps.Keys(c.pending)), appear); err != nil {
			if appear {
				c.lease = 0
			}
			return err
		}
	}
	if time.Since(c.renewed) < c.server.opts.Lease/5 {
		return nil
	}
	err := c.server.opts.Store.Renew(ctx, c.lease)
	if errors.Is(err, store.ErrLeaseEnded) {
		// The store could not be reached for too long. What it has of the tunnels is up to date: the host appears again at once.
		c.lease = 0
		return err
	}
	if err == nil {
		c.renewed = time.Now()
	}
	return err
}

func (c *session) tellAnswer(ctx context.Context) error {
	if c.answer == nil {
		return nil
	}
	_, err := c.server.opts.Store.Write(ctx, func(tx *store.Tx) error {
		want := &apiv1.AppliedSnapshot{Revision: c.answer.GetRevision(), Refused: c.answer.GetRefused(), Findings: c.answer.GetFindings()}
		if rec := tx.Get(fleet.Applied(c.host)); rec != nil {
			old := proto.CloneOf(rec.Value.GetApplied())
			old.Time = nil
			if proto.Equal(old, want) {
				return nil
			}
		}
		want.Time = timestamppb.Now()
		tx.Put(fleet.Applied(c.host), &apiv1.Stored{Applied: want})
		return nil
	})
	if err == nil {
		c.answer = nil
	}
	return err
}

// write puts statuses into the store as far as they are new there, and with the last of them the host's presence.
func (c *session) write(ctx context.Context, names []string, appear bool) error {
	_, err := c.server.opts.Store.Write(ctx, func(tx *store.Tx) error {
		for _, name := range names {
			ref := fleet.TunnelStatusRef(name)
			rec := tx.Get(ref)
			known := rec != nil && rec.Value.GetTunnelStatus().GetHost() == c.host
			switch st := c.pending[name]; {
			case st == nil && known:
				tx.Delete(ref)
			case st != nil && !(known && proto.Equal(rec.Value.GetTunnelStatus(), st)):
				tx.Put(ref, &apiv1.Stored{TunnelStatus: st})
			}
		}
		if appear {
			presence := &apiv1.HostPresence{Controller: c.server.opts.Name, Since: timestamppb.Now(), Session: c.id, Protocol: c.version}
			if rec := tx.Get(fleet.Presence(c.host)); rec != nil {
				presence.Since = rec.Value.GetPresence().GetSince()
			}
			tx.PutLeased(fleet.Presence(c.host), &apiv1.Stored{Presence: presence}, c.lease)
			if tx.Get(fleet.Silence(c.host)) != nil {
				tx.Delete(fleet.Silence(c.host))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		delete(c.pending, name)
	}
	return nil
}

// mayReport says whether a tunnel is one of the host's own.
func (c *session) mayReport(tunnel string) (yes bool) {
	c.server.opts.Store.View(func(r store.Reader) {
		t := fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, tunnel)
		yes = t != nil && fleet.OwnerOf(r, t.GetSpec().GetCloudAddress()) == c.host
	})
	return yes
}

// reported returns the tunnels on which this host reported before.
func (c *session) reported() (names []string) {
	c.server.opts.Store.View(func(r store.Reader) {
		for _, rec := range r.All(fleet.KindTunnelStatus) {
			if rec.Value.GetTunnelStatus().GetHost() == c.host {
				names = append(names, rec.Name)
			}
		}
	})
	return names
}

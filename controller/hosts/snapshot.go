package hosts

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/seal"
)

// concern is what concerns one host, at one revision: copies of the objects without secrets, and where these are.
type concern struct {
	snapshot *apiv1.Snapshot
	records  map[store.Ref]*store.Record
}

// concernOf collects what a host with these addresses has to serve. What agents do not act on is left out, so that its changes concern
// nobody: descriptions, metadata, and static routes into connections that the host has no part in.
func concernOf(r store.Reader, addresses []string) concern {
	out := concern{snapshot: &apiv1.Snapshot{}, records: map[store.Ref]*store.Record{}}
	for _, cloud := range addresses {
		for _, rec := range r.Find(model.ConnectionsOn(cloud)) {
			if c, ok := model.Stored(rec).(*apiv1.VPNConnection); ok {
				out.records[rec.Ref] = rec
				for _, ref := range []store.Ref{
					{Kind: apiv1.KindBorderGateway, Name: c.GetSpec().GetBorderGateway()},
					{Kind: apiv1.KindCustomerGateway, Name: c.GetSpec().GetCustomerGateway()},
				} {
					if parent := r.Get(ref); parent != nil {
						out.records[ref] = parent
					}
				}
			}
		}
		for _, rec := range r.Find(model.TunnelsOn(cloud)) {
			out.records[rec.Ref] = rec
		}
	}
	for _, ref := range out.refs() {
		switch o := model.Acted(model.Stored(out.records[ref])).(type) {
		case *apiv1.BorderGateway:
			o.Metadata, o.Status = nil, nil
			o.Spec.StaticRoutes = slices.DeleteFunc(o.Spec.StaticRoutes, func(s *apiv1.StaticRoute) bool {
				return s.GetConnection() != "" && out.records[store.Ref{Kind: apiv1.KindVPNConnection, Name: s.GetConnection()}] == nil
			})
			out.snapshot.BorderGateways = append(out.snapshot.BorderGateways, o)
		case *apiv1.CustomerGateway:
			o.Metadata = nil
			out.snapshot.CustomerGateways = append(out.snapshot.CustomerGateways, o)
		case *apiv1.VPNConnection:
			o.Metadata, o.Status = nil, nil
			out.snapshot.Connections = append(out.snapshot.Connections, o)
		case *apiv1.VPNTunnel:
			o.Metadata, o.Status = nil, nil
			out.snapshot.Tunnels = append(out.snapshot.Tunnels, o)
		}
	}
	return out
}

func (c concern) refs() []store.Ref {
	out := make([]store.Ref, 0, len(c.records))
	for ref := range c.records {
		out = append(out, ref)
	}
	slices.SortFunc(out, func(a, b store.Ref) int {
		if a.Kind != b.Kind {
			return slices.Index(model.Kinds(), a.Kind) - slices.Index(model.Kinds(), b.Kind)
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

// objects calls fn with every object that may have secrets, and the record it comes from.
func (c concern) objects(fn func(model.Object, *store.Record) error) error {
	for _, g := range c.snapshot.GetBorderGateways() {
		if err := fn(g, c.records[model.RefOf(g)]); err != nil {
			return err
		}
	}
	for _, t := range c.snapshot.GetTunnels() {
		if err := fn(t, c.records[model.RefOf(t)]); err != nil {
			return err
		}
	}
	return nil
}

// digest is equal exactly when there is nothing new for an agent with that key. It is made of the secrets as they are encrypted at rest: it
// tells nothing about them.
func (c concern) digest(key seal.ID) ([]byte, error) {
	h := sha256.New()
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.snapshot)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	// hash.Hash never returns an error.
	h.Write(content)
	h.Write(key[:])
	err = c.objects(func(_ model.Object, rec *store.Record) error {
		for _, s := range rec.Value.GetSecrets() {
			content, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
			if err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
			fmt.Fprintf(h, "%s %d ", rec.Ref, len(content))
			h.Write(content)
		}
		return nil
	})
	return h.Sum(nil), err
}

// sealedSecret is a secret of the last snapshot: as it is at rest, and as it was sealed for the host.
type sealedSecret struct{ box, sealed []byte }

// seal puts the secrets into the snapshot. What was sealed before and has not changed stays byte by byte as it was. A secret that cannot
// be opened is left out, which the agent refuses for that object alone.
func (c *session) seal(what concern) {
	kept := map[string]sealedSecret{}
	err := what.objects(func(o model.Object, rec *store.Record) error {
		object := apiv1.ObjectName(rec.Kind, rec.Name)
		for _, place := range model.Secrets(o) {
			i := slices.IndexFunc(rec.Value.GetSecrets(), func(s *apiv1.StoredSecret) bool { return s.GetPath() == place.Path })
			if i < 0 {
				continue
			}
			stored, context := rec.Value.GetSecrets()[i], seal.Context(object, place.Path)
			s, known := c.sealed[context]
			if !known || !slices.Equal(s.box, stored.GetBox()) {
				value, err := c.server.opts.Reveal(rec, place.Path)
				if err == nil {
					s.box = stored.GetBox()
					s.sealed, err = c.key.Seal(context, value)
				}
				if err != nil {
					c.log.Error("a secret cannot be handed to its host", "object", object, "field", place.Field, "error", err)
					c.server.stats.unsealable.Add(1)
					continue
				}
			}
			kept[context] = s
			*place.Source = &apiv1.SecretSource{Sealed: s.sealed}
		}
		return nil
	})
	if err != nil {
		c.log.Error("snapshot", "error", err) // fn above returns none
	}
	c.sealed = kept
}

// offer sends a snapshot if there is something new for the host.
func (c *session) offer() error {
	var what concern
	var revision int64
	var addresses []string
	c.server.opts.Store.View(func(r store.Reader) {
		addresses = fleet.Object[*apiv1.GatewayHost](r, apiv1.KindGatewayHost, c.host).GetSpec().GetAddresses()
		what, revision = concernOf(r, addresses), r.Revision()
	})
	c.addresses = addresses
	c.concerned = map[store.Ref]bool{}
	for ref := range what.records {
		c.concerned[ref] = true
	}
	digest, err := what.digest(c.key.ID())
	if err != nil {
		return err
	}
	if slices.Equal(digest, c.digest) && c.offered {
		return nil
	}
	unchanged := !c.offered && slices.Equal(digest, c.hello.GetDigest())
	c.digest, c.offered = digest, true
	snapshot := &apiv1.Snapshot{Revision: uint64(revision), Digest: digest, Unchanged: unchanged}
	if unchanged {
		snapshot.Revision = c.hello.GetRevision()
	} else {
		c.seal(what)
		snapshot.BorderGateways, snapshot.CustomerGateways = what.snapshot.GetBorderGateways(), what.snapshot.GetCustomerGateways()
		snapshot.Connections, snapshot.Tunnels = what.snapshot.GetConnections(), what.snapshot.GetTunnels()
		// The view has everything that was ever acknowledged (register saw to that): a higher revision is of a store that is no more.
		snapshot.Reset_ = snapshot.GetRevision() < c.last
		c.last = snapshot.GetRevision()
		c.server.stats.snapshots.Add(1)
	}
	return c.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Snapshot{Snapshot: snapshot}})
}

// concerns says whether changes can have to do with the host. The answer may be a needless yes.
func (c *session) concerns(changed map[store.Ref]struct{}) bool {
	yes := false
	c.server.opts.Store.View(func(r store.Reader) {
		for ref := range changed {
			if c.concerned[ref] || ref == (store.Ref{Kind: apiv1.KindGatewayHost, Name: c.host}) {
				yes = true
				return
			}
			switch ref.Kind {
			case apiv1.KindVPNConnection:
				for _, a := range fleet.Object[*apiv1.VPNConnection](r, ref.Kind, ref.Name).GetSpec().GetCloudAddresses() {
					yes = yes || slices.Contains(c.addresses, a)
				}
			case apiv1.KindVPNTunnel:
				yes = yes || slices.Contains(c.addresses, fleet.Object[*apiv1.VPNTunnel](r, ref.Kind, ref.Name).GetSpec().GetCloudAddress())
			}
		}
	})
	return yes
}

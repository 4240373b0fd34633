package resource

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/allocate"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// fill chooses what the writer left open; what was chosen before stays. Where a reference leads nowhere it leaves fields empty:
// admission names the reference.
func (c *change) fill(o, old model.Object, v *apiv1.Stored) {
	switch o := o.(type) {
	case *apiv1.VPNConnection:
		was, _ := old.(*apiv1.VPNConnection)
		c.fillConnection(o, was)
	case *apiv1.VPNTunnel:
		was, _ := old.(*apiv1.VPNTunnel)
		c.fillTunnel(o, was, v)
	}
}

func (c *change) fillConnection(o, old *apiv1.VPNConnection) {
	if len(o.Spec.CloudAddresses) > 0 {
		return
	}
	if old != nil {
		o.Spec.CloudAddresses = slices.Clone(old.GetSpec().GetCloudAddresses())
		return
	}
	customer, ok := model.Stored(c.tx.Get(store.Ref{Kind: apiv1.KindCustomerGateway, Name: o.Spec.CustomerGateway})).(*apiv1.CustomerGateway)
	if !ok || len(customer.GetSpec().GetAddresses()) == 0 {
		return
	}
	first, err := netip.ParseAddr(customer.GetSpec().GetAddresses()[0])
	if err != nil {
		return
	}
	chosen, err := allocate.Addresses(c.candidates(o.Spec.CustomerGateway, customer.GetSpec().GetAddresses()), first.Is6())
	if err != nil {
		c.cannotFill(model.RefOf(o), "spec.cloudAddresses", "cannot be allocated: %s; give them, or add hosts", err)
		return
	}
	for _, a := range chosen {
		o.Spec.CloudAddresses = append(o.Spec.CloudAddresses, a.String())
		c.reserve.take(a)
		// The choice rests on the host and on the tunnels of the address as they are now.
		c.tx.Find(model.HostOf(a.String()))
		for _, peer := range customer.GetSpec().GetAddresses() {
			c.tx.Count(model.Outer(a.String(), peer))
		}
	}
}

// candidates returns the addresses on which a customer's tunnels would not meet others of the same customer: charon could not tell
// them apart.
func (c *change) candidates(customer string, peers []string) []allocate.Candidate {
	met := map[string]bool{}
	for _, r := range c.tx.Find(model.ConnectionsOfCustomer(customer)) {
		if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
			for _, a := range conn.GetSpec().GetCloudAddresses() {
				met[a] = true
			}
		}
	}
	advice := c.tx.Peek()
	var out []allocate.Candidate
	for _, r := range c.tx.All(apiv1.KindGatewayHost) {
		host, ok := model.Stored(r).(*apiv1.GatewayHost)
		if !ok || host.GetSpec().GetCordoned() {
			continue
		}
		again := slices.ContainsFunc(host.GetSpec().GetAddresses(), func(a string) bool { return met[a] })
		for _, text := range host.GetSpec().GetAddresses() {
			a, err := netip.ParseAddr(text)
			if err != nil || met[text] || slices.ContainsFunc(peers, func(peer string) bool { return advice.Count(model.Outer(text, peer)) > 0 }) {
				continue
			}
			out = append(out, allocate.Candidate{
				Host: host.GetName(), Zone: host.GetSpec().GetZone(), Address: a,
				Load: advice.Count(model.ConnectionsOn(text)) + c.reserve.others(a), Met: again,
			})
		}
	}
	return out
}

func (c *change) fillTunnel(o, old *apiv1.VPNTunnel, v *apiv1.Stored) {
	conn, ok := model.Stored(c.tx.Get(store.Ref{Kind: apiv1.KindVPNConnection, Name: o.Spec.Connection})).(*apiv1.VPNConnection)
	if !ok {
		apiv1.DefaultTunnel(o)
		return
	}
	gateway := conn.GetSpec().GetBorderGateway()
	v.BorderGateway = gateway
	spec := o.Spec
	if old != nil {
		spec.CloudAddress = cmp.Or(spec.CloudAddress, old.GetSpec().GetCloudAddress())
		spec.CustomerAddress = cmp.Or(spec.CustomerAddress, old.GetSpec().GetCustomerAddress())
		if spec.Inside == nil {
			spec.Inside = old.GetSpec().GetInside()
		}
	}
	if spec.CloudAddress == "" || spec.CustomerAddress == "" {
		c.fillOuter(o, conn)
	}
	apiv1.DefaultTunnel(o)
	if spec.Inside != nil {
		return
	}
	cloud, customer, err := allocate.Inside(c.InsidePools, func(h allocate.Half) bool { return c.tx.Count(model.Inside(gateway, h)) > 0 })
	if err != nil {
		c.cannotFill(model.RefOf(o), "spec.inside", "cannot be allocated: %s in the pools of BorderGateway %q", err, gateway)
		return
	}
	spec.Inside = &apiv1.Inside{Cloud: cloud.String(), Customer: customer.String()}
}

// fillOuter takes the first pair of the connection's default layout that no tunnel has and that agrees with the address that was given.
func (c *change) fillOuter(o *apiv1.VPNTunnel, conn *apiv1.VPNConnection) {
	spec := o.Spec
	layout, err := c.layout(conn)
	if err != nil {
		return // admission says what is wrong with the connection
	}
	used := map[apiv1.Pair]bool{}
	for _, r := range c.tx.Find(model.TunnelsOf(conn.GetSpec().GetBorderGateway(), conn.GetName())) {
		if other, ok := model.Stored(r).(*apiv1.VPNTunnel); ok && other.GetName() != o.GetName() {
			used[pairOf(other)] = true
		}
	}
	for _, p := range layout {
		if used[p] || spec.CloudAddress != "" && spec.CloudAddress != p.Cloud.String() ||
			spec.CustomerAddress != "" && spec.CustomerAddress != p.Customer.String() {
			continue
		}
		spec.CloudAddress, spec.CustomerAddress = p.Cloud.String(), p.Customer.String()
		return
	}
	field := "spec.cloudAddress"
	if spec.CloudAddress != "" {
		field = "spec.customerAddress"
	}
	c.cannotFill(model.RefOf(o), field, "must be given: every fitting pair of the default layout of VPNConnection %q has a tunnel", conn.GetName())
}

func pairOf(t *apiv1.VPNTunnel) apiv1.Pair {
	cloud, errCloud := netip.ParseAddr(t.GetSpec().GetCloudAddress())
	customer, errCustomer := netip.ParseAddr(t.GetSpec().GetCustomerAddress())
	if errors.Join(errCloud, errCustomer) != nil {
		return apiv1.Pair{}
	}
	return apiv1.Pair{Cloud: cloud, Customer: customer}
}

func (c *change) layout(conn *apiv1.VPNConnection) ([]apiv1.Pair, error) {
	customer, ok := model.Stored(c.tx.Get(store.Ref{Kind: apiv1.KindCustomerGateway, Name: conn.GetSpec().GetCustomerGateway()})).(*apiv1.CustomerGateway)
	if !ok {
		return nil, errors.New("no customer gateway")
	}
	cloud, err := addrs(conn.GetSpec().GetCloudAddresses())
	if err != nil {
		return nil, err
	}
	peers, err := addrs(customer.GetSpec().GetAddresses())
	if err != nil {
		return nil, err
	}
	return apiv1.DefaultLayout(cloud, peers), nil
}

func addrs(texts []string) ([]netip.Addr, error) {
	out := make([]netip.Addr, len(texts))
	for i, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		out[i] = a
	}
	return out, nil
}

// defaultTunnels stages the tunnels of a new connection's default layout.
func (c *change) defaultTunnels(connection string) error {
	conn, ok := model.Stored(c.tx.Get(store.Ref{Kind: apiv1.KindVPNConnection, Name: connection})).(*apiv1.VPNConnection)
	if !ok {
		return nil
	}
	layout, err := c.layout(conn)
	if err != nil {
		return nil //nolint:nilerr // admission says what is wrong with the connection
	}
	for i, p := range layout {
		t := &apiv1.VPNTunnel{Name: fmt.Sprintf("%s-%d", connection, i+1), Spec: &apiv1.VPNTunnelSpec{
			Connection: connection, CloudAddress: p.Cloud.String(), CustomerAddress: p.Customer.String(),
		}}
		if err := c.put(t, mustNotExist); err != nil {
			return err
		}
	}
	return nil
}

// missingTunnels stages the default tunnels of the connections that the write creates and has no tunnels for.
func (c *change) missingTunnels(objects []model.Object) error {
	with := map[string]bool{}
	for _, o := range objects {
		if t, ok := o.(*apiv1.VPNTunnel); ok {
			with[t.GetSpec().GetConnection()] = true
		}
	}
	for _, st := range slices.Clone(c.steps) {
		if st.action != Created || st.ref.Kind != apiv1.KindVPNConnection || with[st.ref.Name] {
			continue
		}
		if err := c.defaultTunnels(st.ref.Name); err != nil {
			return err
		}
	}
	return nil
}

// reservation is what one write is about to take.
type reservation struct {
	service *Service
	taken   []netip.Addr
}

func (r *reservation) take(a netip.Addr) {
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	r.service.pending[a]++
	r.taken = append(r.taken, a)
}

// others counts the connections that are being written with an address; those of this write are in its transaction.
func (r *reservation) others(a netip.Addr) int {
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	n := r.service.pending[a]
	for _, t := range r.taken {
		if t == a {
			n--
		}
	}
	return n
}

func (r *reservation) release() {
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	for _, a := range r.taken {
		if r.service.pending[a]--; r.service.pending[a] <= 0 {
			delete(r.service.pending, a)
		}
	}
	r.taken = nil
}

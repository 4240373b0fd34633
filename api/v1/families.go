package apiv1

import "net/netip"

// Families says which address families an admitted gateway carries where it has these tunnels. A session or a traffic selector for a family
// that nothing uses would only be one more thing that a customer's device can refuse.
func Families(g *BorderGateway, tunnels []*VPNTunnel) (v4, v6 bool) {
	note := func(text string) {
		// What cannot be parsed was not admitted.
		if p, err := netip.ParsePrefix(text); err == nil {
			v4, v6 = v4 || p.Addr().Is4(), v6 || !p.Addr().Is4()
		}
	}
	for _, t := range tunnels {
		note(t.GetSpec().GetInside().GetCloud())
	}
	for _, a := range g.GetSpec().GetAttachments() {
		for _, p := range a.GetPrefixes() {
			note(p)
		}
	}
	for _, r := range g.GetSpec().GetStaticRoutes() {
		note(r.GetPrefix())
	}
	return v4, v6
}

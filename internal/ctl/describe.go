package ctl

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// page writes a description: sections of aligned cells.
type page struct {
	tw *tabwriter.Writer
}

func newPage(w io.Writer) page { return page{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// line writes cells, indented by two spaces; empty cells at the end are left out.
func (p page) line(cells ...string) {
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	for i, c := range cells {
		cells[i] = printable(c)
	}
	fmt.Fprintf(p.tw, "  %s\n", strings.Join(cells, "\t"))
}

// heading starts a section; alignment starts anew.
func (p page) heading(format string, args ...any) {
	fmt.Fprintf(p.tw, "%s\n", printable(fmt.Sprintf(format, args...)))
}

func (p page) section(format string, args ...any) {
	fmt.Fprintln(p.tw)
	p.heading(format, args...)
}

func (p page) conditions(now clock, conditions []*apiv1.Condition) {
	if len(conditions) == 0 {
		return
	}
	p.section("Conditions")
	for _, c := range conditions {
		p.line(c.GetType(), orDash(c.GetObject()), now.since(c.GetSince()), c.GetMessage())
	}
}

// describeTunnel draws the layers of one tunnel from the outside in, and all that is known beside them.
func describeTunnel(w io.Writer, now clock, r *apiv1.GetTunnelResponse) error {
	t := r.GetTunnel()
	spec, st := t.GetSpec(), t.GetStatus()
	p := newPage(w)
	p.heading("Tunnel %s", t.GetName())
	p.line("connection", orDash(spec.GetConnection()))
	p.line("host", orDash(st.GetHost()))
	p.line("outer", orDash(spec.GetCloudAddress())+" <-> "+orDash(spec.GetCustomerAddress()))
	p.line("inside", orDash(spec.GetInside().GetCloud())+" <-> "+orDash(spec.GetInside().GetCustomer()))
	p.line("running", orDash(st.GetRunning())+" since "+now.since(st.GetSince()))
	if local := st.GetLocal(); local != nil {
		p.line("local change", localText(local)+" by "+orDash(local.GetBy())+" since "+now.since(local.GetSince()), local.GetMessage())
	}
	if st.GetReason() != "" || st.GetMessage() != "" {
		p.line("reason", orDash(st.GetReason()))
		p.line("message", st.GetMessage())
	}
	p.section("Layers")
	for _, l := range layersOf(t) {
		mark := ""
		if l.failing {
			mark = "<-- " + st.GetReason()
		}
		p.line(l.name, orDash(l.state), l.detail, mark)
	}
	describeNegotiated(p, now, st)
	describeCounters(p, st.GetCounters())
	describeSession(p, now, st.GetBgpSession())
	p.conditions(now, st.GetConditions())
	p.section("Negotiation log")
	for _, e := range r.GetLog() {
		p.line(formatTime(e.GetTime()), e.GetMessage())
	}
	if len(r.GetLog()) == 0 {
		p.line("(empty)")
	}
	return p.tw.Flush()
}

func describeNegotiated(p page, now clock, st *apiv1.VPNTunnelStatus) {
	if n := st.GetNegotiated(); n != nil {
		p.section("Negotiated")
		p.line("IKE", fmt.Sprintf("v%d %s", n.GetIkeVersion(), n.GetIkeSuite()))
		p.line("ESP", orDash(n.GetEspSuite()))
		p.line("post-quantum", yesNo(n.GetPostQuantum()))
		p.line("local ID", orDash(n.GetLocalId()))
		p.line("remote ID", orDash(n.GetRemoteId()))
		p.line("remote endpoint", orDash(n.GetRemoteEndpoint()))
		p.line("NAT traversal", yesNo(n.GetNatT()))
	}
	p.section("CHILD_SAs")
	for _, sa := range st.GetChildSas() {
		p.line(fmt.Sprintf("#%d of IKE_SA #%d", sa.GetUniqueId(), sa.GetIkeUniqueId()), sa.GetState(),
			"in "+orDash(sa.GetSpiIn()), "out "+orDash(sa.GetSpiOut()), orDash(sa.GetSuite()), "installed "+now.since(sa.GetInstalled()))
	}
	if len(st.GetChildSas()) == 0 {
		p.line("(none)")
	}
}

func describeCounters(p page, c *apiv1.Counters) {
	if c == nil {
		return // a controller to which the host does not speak has none
	}
	traffic := func(bytes, packets uint64) string {
		return fmt.Sprintf("%s in %d packets", formatBytes(bytes), packets)
	}
	p.section("Traffic")
	p.line("", "in", "out")
	p.line("inner", traffic(c.GetBytesIn(), c.GetPacketsIn()), traffic(c.GetBytesOut(), c.GetPacketsOut()))
	if c.WireBytesIn != nil {
		p.line("wire", traffic(c.GetWireBytesIn(), c.GetWirePacketsIn()), traffic(c.GetWireBytesOut(), c.GetWirePacketsOut()))
	}
	p.section("Events")
	p.line("establishments", fmt.Sprint(c.GetEstablishments()))
	p.line("rekeys", fmt.Sprintf("%d of CHILD_SAs, %d of IKE_SAs", c.GetRekeys(), c.GetIkeRekeys()))
	if e := c.GetXfrmErrors(); e != nil {
		p.line("dropped on arrival", fmt.Sprintf("%d outside the replay window, %d replayed, %d of wrong integrity",
			e.GetOutsideWindow(), e.GetReplayed(), e.GetIntegrityFailed()))
	}
	for _, reason := range slices.Sorted(maps.Keys(c.GetFailures())) {
		p.line("failed: "+reason, fmt.Sprint(c.GetFailures()[reason]))
	}
}

func describeSession(p page, now clock, s *apiv1.BGPSession) {
	if s == nil {
		return
	}
	p.section("BGP session")
	p.line("state", orDash(s.GetState())+" since "+now.since(s.GetSince()))
	p.line("local", fmt.Sprintf("%s AS %d", orDash(s.GetLocalAddress()), s.GetLocalAsn()))
	p.line("peer", fmt.Sprintf("%s AS %d", orDash(s.GetPeerAddress()), s.GetPeerAsn()))
	p.line("prefixes", fmt.Sprintf("%d received, %d accepted, %d announced",
		s.GetPrefixesReceived(), s.GetPrefixesAccepted(), s.GetPrefixesAnnounced()))
	for _, reason := range slices.Sorted(maps.Keys(s.GetRefused())) {
		p.line("refused", fmt.Sprintf("%d %s", s.GetRefused()[reason], reason))
	}
	if s.GetLimitExceeded() > 0 {
		p.line("limit exceeded", fmt.Sprintf("%d times", s.GetLimitExceeded()))
	}
	if s.GetNextTry() != nil {
		p.line("next try", formatTime(s.GetNextTry()))
	}
	if s.GetMessage() != "" {
		p.line("last end", s.GetMessage())
	}
}

// shownTransitions is how many of the last transitions a description has.
const shownTransitions = 10

// describeConnection explains a verdict: each cloud address with its tunnels, the reasons, what one more failure would break and, where it
// is known, how the verdict came about.
func describeConnection(w io.Writer, now clock, v *apiv1.ConnectionView, history []*apiv1.Transition) error {
	spec, st := v.GetConnection().GetSpec(), v.GetConnection().GetStatus()
	p := newPage(w)
	p.heading("Connection %s", v.GetConnection().GetName())
	if spec.GetDescription() != "" {
		p.line("description", spec.GetDescription())
	}
	p.line("border gateway", orDash(spec.GetBorderGateway()))
	p.line("customer gateway", orDash(spec.GetCustomerGateway())+" "+strings.Join(v.GetCustomerGateway().GetSpec().GetAddresses(), ", "))
	p.line("routing", orDash(spec.GetRouting()))
	p.line("availability", orDash(st.GetAvailability())+" since "+now.since(st.GetSince()))
	p.line("tunnels", fmt.Sprintf("%d of %d up", st.GetTunnelsUp(), st.GetTunnels()))
	if len(st.GetReasons()) > 0 {
		p.section("Reasons")
		for i, reason := range st.GetReasons() {
			message := ""
			if i < len(st.GetMessages()) {
				message = st.GetMessages()[i]
			}
			p.line(reason, message)
		}
	}
	p.section("One more failure")
	for _, sentence := range st.GetOneMoreFailure() {
		p.line(sentence)
	}
	switch {
	case st.GetTunnelsUp() == 0:
		p.line("no tunnel is up: there is nothing left to fail")
	case len(st.GetOneMoreFailure()) == 0:
		p.line("any single failure is survived")
	}
	for _, address := range spec.GetCloudAddresses() {
		p.section("Cloud address %s", address)
		found := false
		for _, t := range v.GetTunnels() {
			if t.GetSpec().GetCloudAddress() == address {
				found = true
				s := t.GetStatus()
				p.line(t.GetName(), "to "+t.GetSpec().GetCustomerAddress(), "on "+orDash(s.GetHost()), s.GetRunning(), now.age(s.GetSince()),
					"bgp "+orDash(s.GetBgp()), orDash(s.GetReason()), s.GetMessage())
			}
		}
		if !found {
			p.line("(no tunnel)")
		}
	}
	if len(history) > 0 {
		p.section("History")
	}
	for i, t := range slices.Backward(history) {
		if len(history)-i > shownTransitions {
			p.line(fmt.Sprintf("(%d earlier ones)", i+1))
			break
		}
		p.line(formatTime(t.GetTime()), orDash(t.GetBefore())+" -> "+t.GetAfter(), orDash(strings.Join(t.GetReasons(), ",")),
			"up: "+orDash(strings.Join(t.GetTunnelsUp(), ", ")))
	}
	return p.tw.Flush()
}

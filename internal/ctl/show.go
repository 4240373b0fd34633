package ctl

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// format is a value of --output.
type format string

const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

func formats() []string {
	return []string{string(formatTable), string(formatWide), string(formatJSON), string(formatYAML)}
}

// show writes items in a format: as a table of columns, or as {"items": […]} of what encoded makes of each.
func show[T any](w io.Writer, f format, columns []column[T], items []T, encoded func(T) object) error {
	if f == formatTable || f == formatWide {
		return writeTable(w, columns, items, f == formatWide)
	}
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = encoded(item)
	}
	return writeDocument(w, f, object{{"items", list}})
}

func writeDocument(w io.Writer, f format, o object) error {
	if f == formatYAML {
		return writeYAML(w, o)
	}
	return writeJSON(w, o)
}

func encodeTunnel(t *apiv1.VPNTunnel) object {
	return encodeResource(apiv1.KindVPNTunnel, t.GetName(), t.GetSpec(), t.GetStatus())
}

func encodeConnection(c *apiv1.VPNConnection) object {
	return encodeResource(apiv1.KindVPNConnection, c.GetName(), c.GetSpec(), c.GetStatus())
}

func encodeGateway(g *apiv1.BorderGateway) object {
	return encodeResource(apiv1.KindBorderGateway, g.GetName(), g.GetSpec(), g.GetStatus())
}

func encodeRoute(r *apiv1.Route) object { return flat("Route", r) }

func encodeHost(h *apiv1.GetHostResponse) object { return flat("Host", h) }

// flat is for what is not a resource: no spec, the fields stand beside the kind.
func flat(kind string, m proto.Message) object {
	return append(object{{"kind", kind}}, encode(m, keepZeros)...)
}

// encodeConnectionView is what describe prints for programs: the connection, then all that its verdict was computed from.
func encodeConnectionView(v *apiv1.ConnectionView) object {
	tunnels := make([]any, len(v.GetTunnels()))
	for i, t := range v.GetTunnels() {
		tunnels[i] = encodeTunnel(t)
	}
	customer := v.GetCustomerGateway()
	return object{
		{"connection", encodeConnection(v.GetConnection())},
		{"customerGateway", object{
			{"kind", apiv1.KindCustomerGateway}, {"name", customer.GetName()}, {"spec", encode(customer.GetSpec(), omitZeros)},
		}},
		{"tunnels", tunnels},
	}
}

func encodeTunnelWithLog(r *apiv1.GetTunnelResponse) object {
	entries := make([]any, len(r.GetLog()))
	for i, e := range r.GetLog() {
		entries[i] = encode(e, keepZeros)
	}
	return object{{"tunnel", encodeTunnel(r.GetTunnel())}, {"log", entries}}
}

// localText is a local change in one word, or two with the stage of a drain.
func localText(c *apiv1.LocalChange) string {
	if c.GetStage() != "" {
		return c.GetState() + "/" + c.GetStage()
	}
	return c.GetState()
}

// writeFindings lists under a table of hosts what is wrong with their desired state: it is why a change does not show.
func writeFindings(w io.Writer, hosts []*apiv1.GetHostResponse) error {
	for _, h := range hosts {
		for _, c := range h.GetConditions() {
			if _, err := fmt.Fprintf(w, "\n%s on %s: %s\n", c.GetType(), printable(h.GetHost()), printable(c.GetMessage())); err != nil {
				return err
			}
		}
		findings := h.GetSource().GetFindings()
		if len(findings) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "\nFindings on %s:\n", printable(h.GetHost())); err != nil {
			return err
		}
		for _, f := range findings {
			if _, err := fmt.Fprintf(w, "  %s\n", printable(manifest.Format(f))); err != nil {
				return err
			}
		}
	}
	return nil
}

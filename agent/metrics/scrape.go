package metrics

import (
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/version"
)

// scrape is one View with the lookups that several rows need.
type scrape struct {
	*status.View
	build       version.Info
	connections map[string]*apiv1.VPNConnection
	// labels are the finished pairs of tunnelLabels' names, for each of Tunnels.
	labels [][][]byte
}

func newScrape(v *status.View, build version.Info) *scrape {
	if v == nil {
		v = &status.View{}
	}
	s := &scrape{View: v, build: build, connections: make(map[string]*apiv1.VPNConnection, len(v.Connections))}
	for _, c := range v.Connections {
		s.connections[c.GetConnection().GetName()] = c.GetConnection()
	}
	s.labels = make([][][]byte, len(v.Tunnels))
	for i, t := range v.Tunnels {
		connection := t.GetSpec().GetConnection()
		values := [...]string{t.GetName(), connection, s.connections[connection].GetSpec().GetBorderGateway()}
		for k, name := range tunnelLabels() {
			s.labels[i] = append(s.labels[i], appendPair(nil, name, values[k]))
		}
	}
	return s
}

// tunnelLabels are the first labels of every tunnel's series.
func tunnelLabels() []string { return []string{"tunnel", "connection", "gateway"} }

// usesBGP is true while the connection is routed by BGP, whatever the session does, so that a session that is down keeps its series.
func (s *scrape) usesBGP(t *apiv1.VPNTunnel) bool {
	state := t.GetStatus().GetBgp()
	routing := s.connections[t.GetSpec().GetConnection()].GetSpec().GetRouting()
	return routing == apiv1.RoutingBGP || (state != "" && state != apiv1.BGPOff)
}

func usesProbe(t *apiv1.VPNTunnel) bool {
	state := t.GetStatus().GetProbe()
	return t.GetSpec().GetProbe().GetMode() != apiv1.ProbeModeOff || (state != "" && state != apiv1.ProbeOff)
}

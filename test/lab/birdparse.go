package lab

import (
	"fmt"
	"strings"
)

// BIRDProtocol is one line of "show protocols".
type BIRDProtocol struct {
	Name, Type, Table, State, Since, Info string
}

// Protocols lists the protocols.
func (b *BIRD) Protocols() ([]BIRDProtocol, error) {
	out, err := b.Show("protocols")
	if err != nil {
		return nil, err
	}
	return parseProtocols(out), nil
}

// Established returns nil when all named BGP protocols are established.
func (b *BIRD) Established(names ...string) error {
	protocols, err := b.Protocols()
	if err != nil {
		return err
	}
	state := map[string]BIRDProtocol{}
	for _, p := range protocols {
		state[p.Name] = p
	}
	for _, name := range names {
		if p := state[name]; p.State != "up" || p.Info != "Established" {
			return fmt.Errorf("%s: BGP protocol %s is %q, %q", b.host.name, name, p.State, p.Info)
		}
	}
	return nil
}

// parseProtocols reads "name type table state since info…". The time has one word or two, depending on its age.
func parseProtocols(out string) []BIRDProtocol {
	var protocols []BIRDProtocol
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 5 || f[0] == "Name" {
			continue
		}
		p := BIRDProtocol{Name: f[0], Type: f[1], Table: f[2], State: f[3], Since: f[4]}
		info := f[5:]
		if len(info) > 0 && strings.Count(info[0], ":") == 2 {
			p.Since, info = p.Since+" "+info[0], info[1:]
		}
		p.Info = strings.Join(info, " ")
		protocols = append(protocols, p)
	}
	return protocols
}

// BIRDRoute is one route of "show route all".
type BIRDRoute struct {
	Prefix, Protocol string
	Best             bool              // selected for its prefix
	Via              []string          // "address on interface", or the interface of a direct route, for every next hop
	Attributes       map[string]string // like "BGP.as_path": "65000 65010"
}

// Routes lists the routes that a protocol brought, filtered ones not included; of all protocols when it is "".
func (b *BIRD) Routes(protocol string) ([]BIRDRoute, error) {
	what := "route all"
	if protocol != "" {
		what = "route protocol " + protocol + " all"
	}
	out, err := b.Show(what)
	if err != nil {
		return nil, err
	}
	return parseRoutes(out), nil
}

// HasRoutes returns nil when the protocol brought exactly these prefixes.
func (b *BIRD) HasRoutes(protocol string, prefixes ...string) error {
	routes, err := b.Routes(protocol)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, p := range prefixes {
		want[p] = true
	}
	var got []string
	missing := len(want)
	extra := false
	seen := map[string]bool{}
	for _, r := range routes {
		if seen[r.Prefix] {
			continue
		}
		seen[r.Prefix] = true
		got = append(got, r.Prefix)
		if want[r.Prefix] {
			missing--
		} else {
			extra = true
		}
	}
	if missing > 0 || extra {
		return fmt.Errorf("%s: routes of %q are %q, want %q", b.host.name, protocol, got, prefixes)
	}
	return nil
}

// parseRoutes reads entries like
//
//	10.0.0.0/16          unicast [gw 20:40:01.123] * (100) [AS65000i]
//		via 169.254.10.1 on xfrm1
//		Type: BGP univ
//		BGP.as_path: 65000
//
// where a second route of the same prefix begins with blanks.
func parseRoutes(out string) []BIRDRoute {
	var routes []BIRDRoute
	prefix := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "Table ") {
			continue
		}
		if strings.HasPrefix(line, "\t") {
			if len(routes) > 0 {
				routes[len(routes)-1].detail(strings.TrimSpace(line))
			}
			continue
		}
		if !strings.HasPrefix(line, " ") {
			prefix, f = f[0], f[1:]
		}
		r := BIRDRoute{Prefix: prefix, Attributes: map[string]string{}}
		for _, word := range f {
			if name, ok := strings.CutPrefix(word, "["); ok && r.Protocol == "" {
				r.Protocol = name
			}
			r.Best = r.Best || word == "*"
		}
		routes = append(routes, r)
	}
	return routes
}

func (r *BIRDRoute) detail(line string) {
	if hop, ok := strings.CutPrefix(line, "via "); ok {
		r.Via = append(r.Via, hop)
		return
	}
	if device, ok := strings.CutPrefix(line, "dev "); ok {
		r.Via = append(r.Via, device)
		return
	}
	if key, value, ok := strings.Cut(line, ":"); ok {
		r.Attributes[key] = strings.TrimSpace(value)
	}
}

package plan

import (
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// RefusedRoutes shows what was announced and not accepted as the API does.
func (g *Gateway) RefusedRoutes(refused []bgp.Refused) []*apiv1.Route {
	var out []*apiv1.Route
	for _, r := range refused {
		kind, name, _ := strings.Cut(r.Path.Neighbor, "/")
		route := &apiv1.Route{
			Gateway: g.Name, Prefix: r.Prefix.String(), Type: apiv1.RouteTypeConnection, Source: apiv1.RouteSourceBGP, Target: name,
			AsPath: r.Path.ASPath, Host: g.host.Name, Refused: string(r.Why), Message: "refused from " + kind + " " + name + ": " + meaning(r.Why),
		}
		if r.Path.Kind == bgp.Fabric {
			route.Type = apiv1.RouteTypeAttachment
		} else if t := g.tunnel(name); t != nil {
			route.Target = t.Connection
		}
		out = append(out, route)
	}
	return out
}

func meaning(why bgp.Refusal) string {
	switch why {
	case bgp.RefusedMalformed:
		return "its AS_PATH has the reserved AS 0"
	case bgp.RefusedLoop:
		return "its AS_PATH has the gateway's own AS"
	case bgp.RefusedMartian:
		return "no route can lead to these addresses"
	case bgp.RefusedOwn:
		return "it is on the VPC's side"
	case bgp.RefusedInside:
		return "it has inside addresses of a tunnel"
	case bgp.RefusedOuter:
		return "it has an outer address of a tunnel"
	case bgp.RefusedUnlisted:
		return "it is in none of the attachment's prefixes"
	}
	return string(why)
}

package agent

import (
	"context"
	"net/netip"
	"slices"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/route"
)

// Neighbors send traffic as soon as they hear of a route. So an announcement goes out after its route is in the kernel, and is taken
// back before its route leaves it.

// destination is an announcement without its AS_PATH, which may change while the announcement stays.
type destination struct {
	prefix netip.Prefix
	to     bgp.Kind
}

// common returns those of the announcements that others has too, whatever their AS_PATHs.
func common(announcements, others []bgp.Announcement) []bgp.Announcement {
	have := make(map[destination]bool, len(others))
	for _, a := range others {
		have[destination{a.Prefix, a.To}] = true
	}
	return slices.DeleteFunc(slices.Clone(announcements), func(a bgp.Announcement) bool { return !have[destination{a.Prefix, a.To}] })
}

// carried returns those of the announcements whose route the kernel has, going by what the route driver was given and has answered.
func carried(announcements []bgp.Announcement, desired route.Desired, got route.Result) []bgp.Announcement {
	objects := map[uint32]bool{}
	for _, id := range got.Nexthops {
		objects[id] = true
	}
	for _, g := range got.Groups {
		objects[g.ID] = true
	}
	routed := make(map[netip.Prefix]bool, len(desired.Routes))
	for _, r := range desired.Routes {
		_, failed := got.RouteErrors[r.Prefix]
		routed[r.Prefix] = !failed && (r.Unreachable || objects[r.Nexthop])
	}
	return slices.DeleteFunc(slices.Clone(announcements), func(a bgp.Announcement) bool { return !routed[a.Prefix] })
}

// withdraw takes back what the new plan no longer announces. Everything else about the speaker stays for now.
func (w *worker) withdraw(ctx context.Context, next bgp.Speaker, problems *problems) {
	keep := common(w.spoken.Announcements, next.Announcements)
	if len(keep) == len(w.spoken.Announcements) {
		return
	}
	w.spoken.Announcements = keep
	// What is wrong with single neighbors is told when the rest of the plan is applied.
	if _, err := w.drivers.BGP.Apply(ctx, w.spoken); err != nil {
		problems.add("BorderGateway/"+w.name, err)
	}
}

// speak makes the speaker as planned, with the announcements that routes are ready for. When it is not known what the kernel has,
// because the routes as a whole could not be applied, nothing new is announced and what was announced stays.
func (w *worker) speak(ctx context.Context, next bgp.Speaker, desired route.Desired, got route.Result, known bool, problems *problems) {
	if known {
		next.Announcements = carried(next.Announcements, desired, got)
	} else {
		next.Announcements = common(w.spoken.Announcements, next.Announcements)
	}
	w.spoken = next
	result, err := w.drivers.BGP.Apply(ctx, next)
	if err != nil {
		problems.add("BorderGateway/"+w.name, err)
	}
	for neighbor, err := range result.Errors {
		problems.add("BorderGateway/"+w.name+"/"+neighbor, err)
	}
}

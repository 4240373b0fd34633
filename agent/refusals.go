package agent

import (
	"github.com/bordergw/bordergw/bgp"
)

// refusals are what neighbors announce and is not accepted.
type refusals struct {
	list []bgp.Refused
	// count is how many of a neighbor's there are of each reason.
	count map[string]map[string]uint32
}

func refusalsOf(list []bgp.Refused) refusals {
	out := refusals{list: list, count: map[string]map[string]uint32{}}
	for _, r := range list {
		of := out.count[r.Path.Neighbor]
		if of == nil {
			of = map[string]uint32{}
			out.count[r.Path.Neighbor] = of
		}
		of[string(r.Why)]++
	}
	return out
}

// Package page draws docs/performance.md and its plots from what was measured. A row of which nothing was measured says so.
package page

// Description is one row of the page: what is compared, and how.
type Description struct {
	// Name is what BENCH selects, and the file of the results.
	Name  string
	Title string
	A, B  string
	Goal  string
	How   string
}

// Descriptions are the rows in the order of the page.
func Descriptions() []Description {
	return []Description{
		{
			Name: "tunnels-up", Title: "Many tunnels from nothing", A: "the agent with manifests", B: "`swanctl --load-all` with start actions",
			Goal: "time at most 1.05 of the peer's; the agent's CPU below 5 % of charon's",
			How: "Both ends in one guest. From the start of the agent, or of swanctl, until the gateway's charon has all CHILD_SAs installed. " +
				"The same charon configuration, identities, keys and proposals.",
		},
		{
			Name: "failover-routes", Title: "A tunnel dies under many learned routes", A: "the agent: nexthop groups", B: "FRR, BIRD",
			Goal: "faster than both with any number of routes; 100,000 within 1.5 times of 100",
			How: "Two tunnels, a customer's router behind each, both announcing the same prefixes; BFD 300 ms × 3 on both. The underlay of one is cut without a " +
				"word. From the cut until the last packet of a steady flow to all prefixes that the gateway sends to the dead end, detection included.",
		},
		{
			Name: "routes-in", Title: "Routes from BGP peers into the kernel", A: "the agent: GoBGP, coalescer, netlink", B: "FRR, BIRD",
			Goal: "time at most that of FRR",
			How:  "The same two tunnels. From the moment at which the peers may announce until the kernel has all prefixes over both tunnels; memory is the peak of all the daemons' processes.",
		},
		{
			Name: "forwarding", Title: "Forwarding through a tunnel", A: "what the agent set up", B: "the same cipher by hand with `ip xfrm`, policy-based, without interface, VRF or nftables",
			Goal: "at least 0.97 of the peer's rate; a packet with 1,000 tunnels costs at most 1.05 of one with 1",
			How:  "From the VPC's host through the gateway to the customer's router.",
		},
		{
			Name: "outage", Title: "Lost traffic at failover", A: "the agent", B: "strongSwan with FRR, as VyOS configures them and tuned (BGP 2/6, DPD 5/15)",
			Goal: "less than the tuned peer in every case; below 1 s with probe or BFD; 0 for a killed agent",
			How:  "The longest gap of a steady flow from the VPC to the customer over two tunnels. Each router has a network of its own; all of them lose the same at the same time, but charon one after the other. Gaps are told to 0.1 s.",
		},
		{
			Name: "idle", Title: "Standing still", A: "the agent", B: "–",
			Goal: "no write in a round in which nothing changed; such a round of all gateways below 50 ms; at most 120 MiB and 1 % of a core",
			How: "Twenty tunnels and 200 learned routes to a gateway; a round of every gateway and what is published after it. CPU time of the whole process, garbage " +
				"collection included, against kernel, charon and peers in memory, natively.",
		},
		{
			Name: "one-change", Title: "One change among many", A: "the agent", B: "a full re-apply would be tens of thousands of messages",
			Goal: "at most 10 netlink and 5 VICI messages",
			How: "One manifest is changed among many; messages until nothing moves any more, counted by the kernel and the charon in memory. The CPU time " +
				"is all of reading, admitting, planning and applying.",
		},
		{
			Name: "read", Title: "Scrape and listing", A: "the agent", B: "–",
			Goal: "below 50 ms of CPU each, and no question to charon",
			How:  "From the published state to the bytes on the connection, natively. Handlers have no way to the drivers: a scrape cannot ask charon.",
		},
	}
}

package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// carriersFresh is how long a listing of the kernel's SAs is good for: when charon dies, all gateways ask at the same time.
const carriersFresh = 300 * time.Millisecond

// carriers knows which XFRM interfaces' SAs the kernel has. Workers share it.
type carriers struct {
	list func(context.Context) (map[uint32]bool, error)
	now  func() time.Time
	log  *slog.Logger

	mu    sync.Mutex
	taken time.Time
	ifIDs map[uint32]bool
}

// has says whether the kernel has SAs in both directions for an if_id. What cannot be listed does not carry.
func (c *carriers) has(ifID uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.ifIDs == nil || now.Sub(c.taken) > carriersFresh {
		found, err := c.list(context.Background())
		if err != nil {
			c.log.Warn("the kernel's SAs cannot be listed", "error", err)
			found = map[uint32]bool{}
		}
		c.ifIDs, c.taken = found, now
	}
	return c.ifIDs[ifID]
}

package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Existing reads back the VRFs and XFRM interfaces that carry our marks, whoever wants them.
func (d *Driver) Existing(ctx context.Context) ([]ExistingVRF, []ExistingInterface, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	links, err := d.kernel.Links()
	if err != nil {
		return nil, nil, err
	}
	byIndex := make(map[int]netlink.Link, len(links))
	for _, l := range links {
		byIndex[l.Index] = l
	}
	var vrfs []ExistingVRF
	var interfaces []ExistingInterface
	for _, l := range links {
		switch {
		case oursVRF(l):
			vrfs = append(vrfs, ExistingVRF{
				Gateway: strings.TrimPrefix(l.Alias, AliasGateway), Name: l.Name, Table: l.Table, Index: l.Index,
			})
		case ours(l):
			master := byIndex[l.Master]
			e := ExistingInterface{
				Tunnel: strings.TrimPrefix(l.Alias, AliasTunnel), Name: l.Name, IfID: l.IfID, Index: l.Index,
				VRF: master.Name, MTU: l.MTU, OperUp: l.OperUp(),
			}
			if oursVRF(master) {
				e.Gateway = strings.TrimPrefix(master.Alias, AliasGateway)
			}
			interfaces = append(interfaces, e)
		}
	}
	return vrfs, interfaces, nil
}

// Sweep removes the XFRM interfaces and VRFs of ours that no applied gateway wants, releases foreign devices from VRFs of
// ours when they are nobody's members, and removes guard routes of tables that are nobody's. On a host without VRFs it gives
// the routing rules their order back.
func (d *Driver) Sweep(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	links, err := d.kernel.Links()
	if err != nil {
		return fmt.Errorf("sweep links: %w", err)
	}
	routes, err := d.kernel.Routes(0, GuardProtocol)
	if err != nil {
		return fmt.Errorf("sweep links: %w", err)
	}
	vrfs := make(map[int]bool)
	for _, l := range links {
		vrfs[l.Index] = oursVRF(l)
	}
	var errs []error
	remove := func(l netlink.Link, how string, do func() error) {
		switch err := do(); {
		case errors.Is(err, unix.ENODEV):
		case err != nil:
			errs = append(errs, fmt.Errorf("sweep %s: %w", l.Name, err))
		default:
			d.log.Info("swept a device nobody wants", "device", l.Name, "alias", l.Alias, "how", how)
		}
	}
	for _, l := range links {
		switch {
		case d.owner(l.Name) != "" || oursVRF(l):
		case ours(l):
			remove(l, "deleted", func() error { return d.kernel.DeleteLink(l.Index) })
		case l.Master != 0 && vrfs[l.Master] && !strings.HasPrefix(l.Alias, AliasPrefix):
			remove(l, "released", func() error { return d.changeMaster(l, 0) })
		}
	}
	for _, l := range links {
		if oursVRF(l) && d.owner(l.Name) == "" {
			remove(l, "deleted", func() error { return d.kernel.DeleteLink(l.Index) })
		}
	}
	d.mu.Lock()
	stale := slices.DeleteFunc(routes, func(r netlink.Route) bool {
		_, wanted := d.tables[r.Table]
		return wanted || r.Metric != GuardMetric || r.Type != netlink.Unreachable
	})
	d.mu.Unlock()
	if err := d.deleteRoutes(stale); err != nil {
		errs = append(errs, fmt.Errorf("sweep guard routes: %w", err))
	}
	if err := d.restoreRules(); err != nil {
		errs = append(errs, fmt.Errorf("restore routing rules: %w", err))
	}
	return errors.Join(errs...)
}

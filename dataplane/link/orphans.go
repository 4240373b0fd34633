package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Policy is an IPsec policy as the kernel has it.
type Policy = netlink.Policy

// IPsec is what the kernel has for some if_ids.
type IPsec struct {
	// SAs have keys: what is only reserved is left out.
	SAs      []netlink.SA
	Policies []Policy
}

// IPsec lists states and policies of the if_ids for which ours is true.
func (d *Driver) IPsec(ctx context.Context, ours func(ifID uint32) bool) (IPsec, error) {
	sas, err := d.listSAs(ctx)
	if err != nil {
		return IPsec{}, err
	}
	policies, err := d.kernel.Policies()
	if err != nil {
		return IPsec{}, fmt.Errorf("list policies: %w", err)
	}
	var out IPsec
	for _, sa := range sas {
		if ours(sa.IfID) && !sa.Larval {
			out.SAs = append(out.SAs, sa)
		}
	}
	for _, p := range policies {
		if ours(p.IfID) {
			out.Policies = append(out.Policies, p)
		}
	}
	return out, nil
}

// RemoveIPsec deletes states and policies that nobody wants any more. One that cannot be deleted does not keep the others.
func (d *Driver) RemoveIPsec(ctx context.Context, remove IPsec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var errs []error
	for _, p := range remove.Policies {
		errs = append(errs, d.kernel.DeletePolicy(p))
	}
	for _, sa := range remove.SAs {
		errs = append(errs, d.kernel.DeleteSA(sa))
	}
	return errors.Join(errs...)
}

package charon

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// Margins before hard ends, in which charon negotiates the new SA. Within the smallest one charon repeats a request nine times
// (configs/strongswan.conf), so lost packets do not cost an SA. A life of less than two minutes has half of itself for it.
const (
	minMargin = 60 * time.Second
	// An IKE_SA is rekeyed a twelfth of its life early and not a tenth: common devices use a tenth or fixed values such as 27000 s, and
	// both ends should not rekey at the same moment.
	ikeMarginDivisor   = 12
	childMarginDivisor = 10
	volumeDivisor      = 5
)

// connectionMessage returns the argument of load-conn for t, restricted to what charon can do: it discards a whole connection for one
// unknown key. Keys are those of strongSwan's src/swanctl/swanctl.opt. The generation makes a difference
// that charon sees (peer_cfg_t.equals) and the peer does not.
func connectionMessage(t Tunnel, can capabilities, g generation) *vici.Message {
	name := Prefix + t.Name
	ifID := strconv.FormatUint(uint64(t.IfID), 10)
	conn := new(vici.Message).
		Set("version", strconv.Itoa(t.Version)).
		SetList("local_addrs", t.Local.String()).
		SetList("remote_addrs", t.Remote.String()).
		SetList("proposals", knownProposals(t.IKEProposals, can)...).
		Set("aggressive", yesNo(t.Aggressive)).
		Set("mobike", "no").
		Set("unique", "never").
		// The keeper retries; charon itself would only repeat attempts to which nobody answered.
		Set("keyingtries", "1").
		Set("dpd_delay", seconds(t.DPDInterval))
	if t.Version == 1 && t.DPDInterval > 0 {
		conn.Set("dpd_timeout", seconds(dpdTimeoutV1(t)))
	}
	rekey, over := ikeLifetimes(t.IKELifetime)
	conn.Set("rekey_time", seconds(rekey)).
		Set("over_time", seconds(over)).
		Set("rand_time", seconds(over/2+time.Duration(g)*time.Second)).
		Set("reauth_time", "0").
		// On the connection and not the child, so that charon takes no two tunnels with equal settings for one (peer_cfg_t.equals).
		Set("if_id_in", ifID).
		Set("if_id_out", ifID).
		SetSection("local", new(vici.Message).Set("auth", "psk").Set("id", t.LocalID)).
		SetSection("remote", new(vici.Message).Set("auth", "psk").Set("id", t.RemoteID)).
		SetSection("children", new(vici.Message).SetSection(name, childMessage(t, can)))
	return new(vici.Message).SetSection(name, conn)
}

func childMessage(t Tunnel, can capabilities) *vici.Message {
	life := t.ESPLifetime
	margin := clampMargin(life, childMarginDivisor)
	child := new(vici.Message).
		Set("mode", "tunnel").
		SetList("local_ts", selectors(t.LocalTS, t.Version)...).
		SetList("remote_ts", selectors(t.RemoteTS, t.Version)...).
		SetList("esp_proposals", knownProposals(t.ESPProposals, can)...).
		Set("start_action", "none").
		Set("close_action", "none").
		Set("dpd_action", "clear").
		// All three: before 5.9.9 a rekey_time left out stays at an hour whatever life_time says.
		Set("rekey_time", seconds(life-margin)).
		Set("life_time", seconds(life)).
		Set("rand_time", seconds(margin/2))
	setVolume(child, "bytes", t.LifetimeBytes)
	setVolume(child, "packets", t.LifetimePackets)
	return child.
		Set("replay_window", strconv.FormatUint(uint64(t.ReplayWindow), 10)).
		Set("copy_df", "yes")
}

// setVolume sets rekey_, life_ and rand_ for a limit by volume; a fifth of it is left for negotiating the next SA.
func setVolume(child *vici.Message, unit string, life uint64) {
	if life == 0 {
		return
	}
	margin := life / volumeDivisor
	child.Set("rekey_"+unit, strconv.FormatUint(life-margin, 10)).
		Set("life_"+unit, strconv.FormatUint(life, 10)).
		Set("rand_"+unit, strconv.FormatUint(margin/2, 10))
}

// ikeLifetimes splits the hard lifetime of an IKE_SA: it is rekeyed at rekey and deleted at rekey+over.
func ikeLifetimes(life time.Duration) (rekey, over time.Duration) {
	over = clampMargin(life, ikeMarginDivisor)
	return life - over, over
}

// clampMargin returns life/divisor in whole seconds, at least minMargin but never more than half the life.
func clampMargin(life time.Duration, divisor time.Duration) time.Duration {
	return min(max(life/divisor, minMargin), life/2).Truncate(time.Second)
}

// dpdTimeoutV1 exceeds the interval: charon computes timeout-interval without a sign, and an underflow would never detect anything.
// It also exceeds the timeout, at which the driver acts: charon is there for when nobody drives it.
func dpdTimeoutV1(t Tunnel) time.Duration {
	return max(t.DPDTimeout, t.DPDInterval+time.Second) + 5*time.Second
}

func selectors(ts []netip.Prefix, version int) []string {
	if version == 1 {
		ts = ts[:1]
	}
	out := make([]string, 0, len(ts))
	for _, p := range ts {
		out = append(out, p.String())
	}
	return out
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// seconds rounds up: 0 means "off" to charon, which no positive duration may become.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

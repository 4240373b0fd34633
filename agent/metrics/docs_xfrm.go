package metrics

// xfrmReference explains what the kernel counts in /proc/net/xfrm_stat (net/xfrm/xfrm_proc.c).
const xfrmReference = `
## Packets that the kernel dropped

` + "`bordergw_host_xfrm_errors_total`" + ` has the kernel's counters under the kernel's names; newer kernels have more of them. They belong to no
tunnel. ` + "`bordergw_tunnel_xfrm_errors_total`" + ` has the three that the kernel counts for each SA. On a gateway these are worth a look:

| error | what happened | usual cause |
|---|---|---|
| ` + "`XfrmInNoStates`" + ` | ESP came with an SPI that no SA has | the peer still uses an SA that ended here: a restart, a lost DELETE |
| ` + "`XfrmInStateProtoError`" + ` | the packet could not be decrypted | wrong authentication tag: damaged or forged |
| ` + "`XfrmInStateSeqError`" + ` | sequence number outside the replay window, or seen before | reordering wider than ` + "`replayWindow`" + `; a replayed packet |
| ` + "`XfrmInStateExpired`" + `, ` + "`XfrmOutStateExpired`" + ` | the SA's hard lifetime is over | a rekeying that failed |
| ` + "`XfrmInStateMismatch`" + `, ` + "`XfrmInTmplMismatch`" + ` | the SA is not the one that the policy wants | packets in the clear, or over the wrong tunnel |
| ` + "`XfrmInNoPols`" + ` | no policy allows the decrypted packet | outside the traffic selectors |
| ` + "`XfrmInPolBlock`" + `, ` + "`XfrmOutPolBlock`" + ` | a policy forbids it | a blocking policy, made by somebody else |
| ` + "`XfrmInBufferError`" + `, ` + "`XfrmInHdrError`" + ` | no memory; a header that makes no sense | overload; damaged packets |
| ` + "`XfrmOutNoStates`" + ` | a policy asks for an SA and there is none | traffic for a tunnel that is down |
| ` + "`XfrmOutBundleGenError`" + `, ` + "`XfrmOutBundleCheckError`" + ` | the outer packet has no route | the underlay lost its route to the peer |
| ` + "`XfrmOutStateSeqError`" + ` | the SA has no sequence number left | no rekeying for 2^32 packets |
| ` + "`XfrmAcquireError`" + ` | nobody negotiates the SA that is asked for | charon is not there |
`

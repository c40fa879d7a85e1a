package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"allclear.dev/allclear/internal/engine"
	"allclear.dev/allclear/internal/journal"
	"allclear.dev/allclear/internal/run"
)

// recordCheck goes through one run: every event decodes and fits, every signature
// is one, every file kept as evidence has its digest.
type recordCheck struct {
	site                      *site
	out                       io.Writer
	bad, signatures, evidence int
}

func (c *recordCheck) say(format string, args ...any) {
	c.bad++
	fmt.Fprintf(c.out, "✖ "+format+"\n", args...)
}

func (c *recordCheck) run(ctx context.Context, log journal.Reader, id string) {
	frozen, err := frozenSite(&options{dir: c.site.root}, c.site.environment, c.site.dataDir, id)
	if err != nil {
		c.say("run %s: %v", id, err)
		return
	}
	var state run.State
	for stored, err := range log.Read(ctx, id, 0) {
		if err != nil {
			c.say("run %s: %v", id, err)
			return
		}
		event, err := engine.DecodeEvent(stored.Body)
		if err != nil {
			c.say("run %s event %d: %v", id, stored.Seq, err)
			continue
		}
		if event.Type == run.RunStarted && event.Plan != nil && event.Plan.Config != frozen.cfg.Digest {
			c.say("run %s: its configuration was changed after it started", id)
		}
		if event.Type == run.RunStarted && event.Plan != nil && event.Plan.Policy != frozen.cfg.PolicyDigest {
			c.say("run %s: its people, roles or policy were changed after it started", id)
		}
		if event.Type == run.Signed || event.Type == run.Attested {
			if event.Signature != "" {
				c.signatures++
			}
			if err := frozen.verifySignature(event, &state); err != nil {
				c.say("run %s event %d: %s signed by %s: %v", id, stored.Seq, event.Item, event.Actor, err)
			}
		}
		c.artefacts(id, stored.Seq, event)
		state, _ = run.Step(state, event)
	}
}

func (c *recordCheck) artefacts(id string, seq uint64, event run.Event) {
	if event.Type == run.RunStarted {
		return // the frozen files are compared with the plan
	}
	for _, a := range event.Artefacts {
		c.evidence++
		file, err := os.Open(engine.BlobPath(filepath.Join(c.site.dataDir, "blobs"), a.SHA256))
		if err != nil {
			c.say("run %s event %d: evidence %q of %s is missing", id, seq, a.Name, event.Item)
			continue
		}
		hash := sha256.New()
		_, err = io.Copy(hash, file)
		file.Close()
		if err != nil || hex.EncodeToString(hash.Sum(nil)) != a.SHA256 {
			c.say("run %s event %d: evidence %q of %s was changed", id, seq, a.Name, event.Item)
		}
	}
}

package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"allclear.dev/allclear/internal/run"
)

// replay derives the run's state again and checks what each event claims.
func (v *verifier) replay() {
	var s run.State
	for _, stored := range v.entries {
		if stored.Seq == 0 {
			continue
		}
		at := Finding{Run: v.head.Run, Seq: stored.Seq, Through: stored.Seq}
		e, err := decodeEvent(stored.Body)
		if err != nil {
			at.Kind, at.Detail = Unreadable, err.Error()
			v.result.add(at)
			return
		}
		at.Item = e.Item
		if err := v.step(&s, e, at); err != nil {
			at.Kind, at.Detail = Refused, err.Error()
			v.result.add(at)
			return
		}
		v.result.Journal = append(v.result.Journal, e)
		for _, f := range signatureFiles(stored.Seq, &e) {
			v.same(f.name, f.text, at)
		}
		for _, a := range evidence(&e) {
			v.artefact(a, at)
		}
	}
	v.result.State = s
	v.plan(&s)
}

// step takes an event into the state. An event that the engine would not have
// taken is an error, and so is one that the core cannot digest: the events of a
// bundle may come from anybody.
func (v *verifier) step(s *run.State, e run.Event, at Finding) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("no run takes it: %v", p)
		}
	}()
	switch {
	case s.Plan == nil && (e.Type != run.RunStarted || e.Plan == nil):
		return errors.New("a run begins with its plan")
	case s.Plan == nil && e.PlanDigest != "" && e.PlanDigest != e.Plan.Digest():
		return errors.New("its plan is not the one whose digest it names")
	case s.Plan == nil && e.Run != v.head.Run:
		return fmt.Errorf("it starts the run %q", e.Run)
	case s.Plan != nil && e.Type == run.RunStarted:
		return errors.New("the run has begun already")
	}
	if err := run.Refuse(s, e); err != nil {
		return err
	}
	if s.Plan != nil {
		v.signature(s, e, at)
	}
	*s, _ = run.Step(*s, e)
	return nil
}

// signature checks the signature of an event that has or may need one.
func (v *verifier) signature(s *run.State, e run.Event, at Finding) {
	if e.Type != run.Signed && e.Type != run.Attested && e.Signature == "" {
		return
	}
	if v.trust.Signature == nil {
		if e.Type == run.Attested && e.Signature == "" {
			return
		}
		at.Kind, at.Detail = Unchecked, fmt.Sprintf("the signature of %s: no keys are given", e.Actor)
		v.result.add(at)
		return
	}
	if err := v.trust.Signature(e, s); err != nil {
		at.Kind, at.Detail = Forged, err.Error()
		v.result.add(at)
		return
	}
	if e.Signature != "" {
		v.result.Signatures++
	}
}

// same holds a file against the text that an event has.
func (v *verifier) same(name, want string, at Finding) {
	v.known[name] = true
	at.File = name
	got, err := v.read(name, maxFile)
	switch {
	case err != nil:
		at.Kind, at.Detail = Missing, err.Error()
	case string(got) != want:
		at.Kind, at.Detail = Changed, name+" is not what the event has"
	default:
		return
	}
	v.result.add(at)
}

// artefact holds an artefact against its digest, once.
func (v *verifier) artefact(a run.Artefact, at Finding) {
	at.File = evidenceDir + a.SHA256
	if _, err := decodeHash(a.SHA256); err != nil {
		at.Kind, at.Detail = Unchecked, fmt.Sprintf("evidence %q: %v", a.Name, err)
		v.result.add(at)
		return
	}
	if v.known[at.File] {
		return
	}
	v.known[at.File] = true
	digest, err := v.digest(at.File)
	switch {
	case err != nil:
		at.Kind, at.Detail = Missing, fmt.Sprintf("evidence %q: %v", a.Name, err)
	case digest != a.SHA256:
		at.Kind, at.Detail = Changed, fmt.Sprintf("evidence %q has the SHA-256 %s", a.Name, digest)
	default:
		v.result.Evidence++
		return
	}
	v.result.add(at)
}

func (v *verifier) digest(name string) (string, error) {
	file, err := v.open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	if n > maxFile {
		return "", fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// plan holds the header and the frozen files against the plan.
func (v *verifier) plan(s *run.State) {
	if s.Plan == nil {
		return
	}
	if v.head.Plan != s.PlanDigest {
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: "its plan digest is not that of the plan in event 1"})
	}
	if v.checkpoint.Origin != Origin(s.Plan) {
		v.result.add(Finding{Kind: Changed, File: headerFile, Detail: fmt.Sprintf("its checkpoint names the log %q, the plan %q", v.checkpoint.Origin, Origin(s.Plan))})
	}
	for _, f := range []struct{ name, want string }{{checklistFile, s.Plan.Checklist}, {configFile, s.Plan.Config}} {
		got, err := v.digest(f.name)
		switch {
		case f.want == "" && errors.Is(err, fs.ErrNotExist): // an adopted release has no checklist
		case f.want == "":
			v.result.add(Finding{Kind: Extra, File: f.name, Detail: "the plan was made without one"})
		case err != nil:
			v.result.add(Finding{Kind: Missing, File: f.name, Detail: err.Error()})
		case got != f.want:
			v.result.add(Finding{Kind: Changed, File: f.name, Detail: "it is not the file that the plan was made from"})
		}
	}
}

// files looks for what nothing refers to. When the events could not be replayed,
// only the places are known.
func (v *verifier) files() error {
	return fs.WalkDir(v.fs, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("list %s: %w", name, err)
		case d.IsDir() && (name == "." || name == "evidence" || strings.HasPrefix(evidenceDir, name+"/") || name+"/" == signatureDir):
			return nil
		case v.known[name]:
			return nil
		case v.result.State.Plan == nil && !d.IsDir() && (strings.HasPrefix(name, evidenceDir) || strings.HasPrefix(name, signatureDir)):
			return nil
		}
		v.result.add(Finding{Kind: Extra, File: name, Detail: "nothing in the run refers to it"})
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

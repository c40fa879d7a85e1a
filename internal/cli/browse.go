package cli

import (
	"strings"
	"time"

	"allclear.dev/allclear/internal/run"
)

// browser is the full-screen view of a run: all its gates and items, one of them
// under the cursor, and a pane about that one. Keys change what is shown. What
// they propose to do to the run stands in the prompt as a command line first, and
// happens when Enter is pressed there; the command itself asks again where the
// environment is protected.
type browser struct {
	state  run.State
	paper  paper
	now    time.Time
	times  gateTimes
	normal map[string]time.Duration
	// rows are what there is to show; cursor and top are indexes of them.
	rows        []browseRow
	cursor, top int
	// folds are gates and sections that a person has folded or unfolded.
	folds map[string]bool
	bad   bool // only what is not well
	pane  pane
	// detail gives the lines of the pane; it reads the record.
	detail func(pane, *run.State, *run.Item) []string
	prompt prompt
	said   string
}

// pane is what the lower part of the screen tells about the item at the cursor.
type pane int

const (
	paneShort pane = iota // in two lines
	paneItem              // all that is known
	paneLog               // what its action wrote
	paneHelp              // the keys
)

// wish is what a key asks of whoever drives the browser.
type wish struct {
	leave bool
	// run is the command to run, copied what to put into the terminal's clipboard.
	run    []string
	copied string
}

// press takes a key.
func (b *browser) press(k key) wish {
	b.said = ""
	var w wish
	switch {
	case b.prompt.open:
		w = b.typed(k)
	case k.name != "":
		w = b.pressed(k.name)
	default:
		w = b.pressed(k.text)
	}
	b.arrange()
	return w
}

// pressed does what a key stands for while nothing is being typed.
func (b *browser) pressed(name string) wish {
	page := max(b.paper.height/2, 1)
	switch name {
	case "q", "ctrl+c":
		return wish{leave: true}
	case "esc":
		b.pane = paneShort
	case "down", "j":
		b.cursor++
	case "up", "k":
		b.cursor--
	case "pgdown", " ":
		b.cursor += page
	case "pgup":
		b.cursor -= page
	case "home", "g":
		b.cursor = 0
	case "end", "G":
		b.cursor = len(b.rows) - 1
	case "right", "enter":
		b.unfold()
	case "left", "h":
		b.fold()
	case "n":
		b.toProblem(1)
	case "N":
		b.toProblem(-1)
	case ".":
		b.bad = !b.bad
	case "l":
		b.show(paneLog)
	case "e":
		b.show(paneItem)
	case "?":
		b.show(paneHelp)
	case "y":
		if it := b.item(); it != nil {
			b.said = "copied " + it.ID
			return wish{copied: it.ID}
		}
	case "/":
		b.prompt = prompt{open: true, find: true}
	default:
		b.propose(name)
	}
	return wish{}
}

func (b *browser) show(p pane) {
	if b.pane == p {
		p = paneShort
	}
	b.pane = p
}

// propose opens the prompt with a command for the item at the cursor.
func (b *browser) propose(key string) {
	env, it := b.state.Plan.Environment, b.item()
	item := ""
	if it != nil {
		item = it.ID
	}
	var line string
	switch {
	case key == ":":
		b.prompt = prompt{open: true}
		return
	case key == "p" && b.state.Paused:
		line = "resume " + env
	case key == "p":
		line = "pause " + env + " --reason \"\""
	case key == "b":
		line = "rollback " + env + " --reason \"\""
	case item == "":
		return
	case key == "s" && it.Kind == run.Signoff:
		line = "sign " + env + " " + item
	case key == "s":
		line = "attest " + env + " " + item + " --text \"\""
	case key == "r":
		line = "retry " + env + " " + item
	case key == "o":
		line = "waive " + env + " " + item + " --for 24h --reason \"\""
	case key == "d":
		line = "resolve " + env + " " + item + " --did-not --reason \"\""
	default:
		return
	}
	b.prompt = prompt{open: true, text: []rune(line)}
	b.prompt.at = len(b.prompt.text)
	if strings.HasSuffix(line, "\"\"") {
		b.prompt.at--
	}
}

// typed edits the prompt; Enter finds, or runs the command.
func (b *browser) typed(k key) wish {
	switch k.name {
	case "esc", "ctrl+c":
		b.prompt = prompt{}
	case "enter":
		p := b.prompt
		b.prompt = prompt{}
		if p.find {
			b.find(string(p.text))
			break
		}
		args, err := splitWords(string(p.text))
		if err != nil {
			b.said = err.Error()
			break
		}
		return wish{run: args}
	default:
		b.prompt.edit(k)
	}
	return wish{}
}

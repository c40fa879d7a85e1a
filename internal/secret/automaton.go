package secret

// automaton finds many texts at once (Aho and Corasick, "Efficient string
// matching", CACM 18, 1975): one step per byte, however many texts there are.
// State 0 is the root.
type automaton struct {
	root  [256]int32
	nodes []node
}

// node is one state: a prefix of a text. Its children form a list, because few
// states but the root have more than one.
type node struct {
	child, sibling, fail int32
	// depth is the length of the prefix.
	depth int32
	// longest is the length of the longest text that ends here, 0 for none.
	longest int32
	char    byte
}

// newAutomaton builds the automaton for texts, none of them empty.
func newAutomaton(texts []string) *automaton {
	a := &automaton{nodes: make([]node, 1)}
	for _, text := range texts {
		a.add(text)
	}
	a.link()
	return a
}

func (a *automaton) add(text string) {
	at := int32(0)
	for i := range len(text) {
		next := a.find(at, text[i])
		if next == 0 {
			next = int32(len(a.nodes))
			a.nodes = append(a.nodes, node{depth: int32(i + 1), char: text[i]})
			if at == 0 {
				a.root[text[i]] = next
			} else {
				a.nodes[next].sibling, a.nodes[at].child = a.nodes[at].child, next
			}
		}
		at = next
	}
	a.nodes[at].longest = a.nodes[at].depth
}

// find gives the child of a state for one byte, 0 for none.
func (a *automaton) find(state int32, char byte) int32 {
	if state == 0 {
		return a.root[char]
	}
	for at := a.nodes[state].child; at != 0; at = a.nodes[at].sibling {
		if a.nodes[at].char == char {
			return at
		}
	}
	return 0
}

// link sets, from the root outwards, for every state the longest other state
// that its prefix ends with.
func (a *automaton) link() {
	var queue []int32
	for _, state := range a.root {
		if state != 0 {
			queue = append(queue, state)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		for at := a.nodes[state].child; at != 0; at = a.nodes[at].sibling {
			fail := a.step(a.nodes[state].fail, a.nodes[at].char)
			a.nodes[at].fail = fail
			a.nodes[at].longest = max(a.nodes[at].longest, a.nodes[fail].longest)
			queue = append(queue, at)
		}
	}
}

// step gives the state after one more byte.
func (a *automaton) step(state int32, char byte) int32 {
	for {
		if next := a.find(state, char); next != 0 || state == 0 {
			return next
		}
		state = a.nodes[state].fail
	}
}

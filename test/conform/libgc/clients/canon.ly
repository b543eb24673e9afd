\version "2.24.0"
% canon.ly - LilyPond: three voices that Scheme computes, engraved as pages of SVG, and as MIDI.
#(define (note n) (ly:make-pitch (quotient n 7) (modulo n 7)))
#(define (line seed count)
  (let loop ((i 0) (x seed) (out '()))
    (if (= i count)
        (reverse out)
        (loop (1+ i) (modulo (+ (* x 1103515245) 12345) 2147483648)
              (cons (make-music 'NoteEvent
                                'duration (ly:make-duration (+ 2 (modulo (quotient x 4096) 2)))
                                'pitch (note (modulo (quotient x 65536) 14)))
                    out)))))
voice = #(define-music-function (seed count) (integer? integer?)
  (make-sequential-music (line seed count)))
\header { title = "Canon" tagline = ##f }
\score {
  \new StaffGroup << \new Staff \voice 1 #150 \new Staff \voice 7 #150 \new Staff \voice 13 #150 >>
  \layout { } \midi { }
}

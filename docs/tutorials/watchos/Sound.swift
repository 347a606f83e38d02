import AVFoundation

/// The microphone as PCM16, mono, and a loudspeaker for the same.
final class Sound {
    private let engine = AVAudioEngine()
    private let player = AVAudioPlayerNode()
    private let played: AVAudioFormat
    private let wire: AVAudioFormat

    /// `rate`: hertz, both ways.
    init(rate: Double) {
        played = AVAudioFormat(standardFormatWithSampleRate: rate, channels: 1)!
        wire = AVAudioFormat(commonFormat: .pcmFormatInt16, sampleRate: rate, channels: 1, interleaved: true)!
        engine.attach(player)
        engine.connect(player, to: engine.mainMixerNode, format: played)
    }

    /// Tell all that the microphone hears, some 40 ms at a time, on a thread of its own.
    func start(onSpeech: @escaping (Data) -> Void) throws {
        try AVAudioSession.sharedInstance().setCategory(.playAndRecord, mode: .voiceChat)
        try AVAudioSession.sharedInstance().setActive(true)
        let microphone = engine.inputNode.outputFormat(forBus: 0)
        let converter = AVAudioConverter(from: microphone, to: wire)!
        let room = AVAudioFrameCount(wire.sampleRate)
        engine.inputNode.installTap(onBus: 0, bufferSize: AVAudioFrameCount(microphone.sampleRate / 25), format: microphone) { [wire] heard, _ in
            let said = AVAudioPCMBuffer(pcmFormat: wire, frameCapacity: room)!
            var isGiven = false
            converter.convert(to: said, error: nil) { _, status in
                status.pointee = isGiven ? .noDataNow : .haveData
                isGiven = true
                return heard
            }
            onSpeech(Data(bytes: said.int16ChannelData![0], count: 2 * Int(said.frameLength)))
        }
        try engine.start()
        player.play()
    }

    /// Behind what is waiting already. `pcm` holds whole samples.
    func play(_ pcm: Data) {
        let count = pcm.count / 2
        guard count > 0 else { return }
        let buffer = AVAudioPCMBuffer(pcmFormat: played, frameCapacity: AVAudioFrameCount(count))!
        buffer.frameLength = buffer.frameCapacity
        pcm.withUnsafeBytes { bytes in
            for at in 0..<count {
                let sample = Int16(littleEndian: bytes.loadUnaligned(fromByteOffset: 2 * at, as: Int16.self))
                buffer.floatChannelData![0][at] = Float(sample) / 32_768
            }
        }
        player.scheduleBuffer(buffer)
    }

    /// Silence at once: what waits is dropped.
    func hush() {
        player.stop()
        player.play()
    }

    func stop() {
        engine.inputNode.removeTap(onBus: 0)
        engine.stop()
    }
}
